"""`agoge decide`: the decision that the server would take, for a person and for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli.main import command


def decide(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, ["decide", "--data", str(data), *arguments])


def test_json_is_the_whole_object_of_the_endpoint(data: Path) -> None:
    done = decide(data, "Why is the sky blue?", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["object"] == "agoge.decision"
    assert (told["label"], told["adapters"]) == ("physics", {"core": 1.0, "physics": 0.8})
    assert {verdict["adapter"] for verdict in told["verdicts"]} == {"core", "physics", "sport", "academic"}
    assert sum(told["scores"].values()) == pytest.approx(1.0)
    assert len(told["nearest"]) == 5


def test_text_says_who_and_why(data: Path) -> None:
    done = decide(data, "режим: академический\nчто такое внимание")
    assert done.exit_code == 0
    assert "adapters  academic x 1.0\n" in done.stdout
    assert "why       academic: asked\n" in done.stdout


def test_explain_prints_rule_second_gates_and_nearest(data: Path) -> None:
    done = decide(data, "Why is the sky blue?", "--explain")
    assert done.exit_code == 0, done.output
    words = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    by_name = {name: rest for name, rest in words if name in ("rule", "second", "gates", "nearest")}
    assert by_name["rule"].startswith("rule 3: best by score among the open gates: physics (at most 2 may join)")
    assert re.fullmatch(r"[a-z_]+ 0\.\d\d, 0\.\d\d behind", by_name["second"])
    assert re.fullmatch(r"physics  \+0\.\d\d  speaks: 0\.\d\d passes the gate 0\.45", by_name["gates"])
    assert re.search(
        r"\n          sport    -0\.\d\d  silent: would have joined at 0\.45; it has 0\.\d\d\n", done.stdout
    )
    assert re.match(r"physics +0\.\d\d  \w", by_name["nearest"])
    assert len(done.stdout.splitlines()) == 4 + 2 + 2 + 5
    plain = decide(data, "Why is the sky blue?").stdout
    assert done.stdout.startswith(plain)
    assert len(plain.splitlines()) == 4


def test_explain_holds_where_nothing_was_scored_or_somebody_was_named(data: Path) -> None:
    empty = decide(data, "  ", "--explain")
    assert "rule      rule 4: nothing was scored, so no gate opened; core speaks as always\n" in empty.stdout
    assert "nearest" not in empty.stdout
    named = decide(data, "why is the sky blue", "--model", "academic", "--explain")
    assert "rule      rule 1: the user named academic, which replaces the classifier's guess" in named.stdout


def test_json_has_the_explanation_too(data: Path) -> None:
    told = json.loads(decide(data, "Why is the sky blue?", "--json").stdout)
    assert told["explanation"]["rule"] == "best_scores"
    margins = {margin["adapter"]: margin for margin in told["explanation"]["margins"]}
    assert margins.keys() == {"physics", "sport"}
    assert margins["sport"]["margin"] == pytest.approx(told["scores"]["sport"] - 0.45)
    assert [round(1 - near["similarity"], 4) for near in told["nearest"]] == pytest.approx(
        [near["distance"] for near in told["nearest"]], abs=2e-4
    )
    distances = [near["distance"] for near in told["nearest"]]
    assert distances == sorted(distances)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["режим: алхимия"], "алхимия"),
        (["x", "--model", "nope"], "does not exist"),
        (["x", "--tenant", "nobody"], "no profile for tenant 'nobody'"),
        (["x", "--policy", "/no/such.yaml"], "/no/such.yaml"),
        (["x", "--classifier", "/no/such"], "/no/such"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(data: Path, arguments: list[str], says: str) -> None:
    done = decide(data, *arguments)
    assert done.exit_code == 1
    assert says in done.stderr
    assert "Traceback" not in done.output


def test_text_that_is_not_utf8_is_a_usage_error(data: Path) -> None:
    done = decide(data, "\udcff")
    assert done.exit_code == 2
    assert "not UTF-8" in done.stderr
