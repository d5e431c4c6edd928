"""`agoge decide`: the decision that the server would take, for a person and for programs."""

from __future__ import annotations

import json
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
