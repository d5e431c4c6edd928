"""`agoge policy replay`: a log that was really served, what is told of it, and what becomes of every bad line."""

from __future__ import annotations

import gzip
import io
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from router.cli.main import command
from router.core.blend import Blend
from router.core.decision import Decision, Reason
from router.core.facts import Decided
from router.decision_log import DecisionLog
from router.policy_file import load_policies
from router.sinks.log import JsonLines, LogSink
from tests.stage import staged
from tests.stubs import POLICY

MARKER = "zqxj"
CORE = Blend((("core", 1.0),), "core-0123456789ab")
ACADEMIC = Blend((("academic", 1.0),), "academic-0123456789ab", alone=True)


def run(*args: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(command, ["policy", "replay", *args], input=stdin)


def data(*args: str, code: int = 0) -> Any:
    result = run(*args, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def policy(folder: Path, text: str = POLICY) -> str:
    file = folder / "new.yaml"
    file.write_text(text, "utf-8")
    return str(file)


def line(ident: str = "dec_1", blend: Blend = CORE, **changed: Any) -> str:
    """Return one decision as the sink writes it, with fields changed afterwards."""
    decision = Decision(
        blend, (), Reason.OTHERWISE, "physics", {"physics": 0.4, "sport": 0.2}, False, "cafe", "words"
    )
    asked = frozenset({"academic"}) if blend.alone else None
    log = io.StringIO()
    LogSink(log).record(Decided(ident, decision, "miss", 0.001, "r", asked))
    return json.dumps({**json.loads(log.getvalue()), **changed})


def log_of(folder: Path, *lines: str | bytes, name: str = "agoge.log") -> str:
    file = folder / name
    file.write_bytes(b"".join((text.encode() if isinstance(text, str) else text) + b"\n" for text in lines))
    return str(file)


@pytest.fixture
async def served(tmp_path: Path) -> str:
    """The whole log of a server: two topics, a mode, nothing to score, a refusal, and a library that complains."""
    written = io.StringIO()
    written.write("Agoge serves http://127.0.0.1:8080/v1, policy 0123\n")
    async with staged(tmp_path) as stage:
        stage.router._sinks = (*stage.router._sinks, LogSink(written))
        stage.router.state.fleet.record = stage.router.record
        handler = logging.StreamHandler(written)
        handler.setFormatter(JsonLines())
        logging.getLogger("uvicorn.error").addHandler(handler)
        try:
            async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
                for text, model in (
                    ("why is the sky blue", "auto"),
                    ("why is the sky blue", "auto"),  # from the cache
                    ("train for a marathon", "auto"),
                    ("режим: академический\nwrite an abstract", "auto"),
                    ("hello", "physics+sport"),
                    ("hello", "nobody"),  # refused
                ):
                    body = {"model": model, "messages": [{"role": "user", "content": f"{text} {MARKER}"}]}
                    await client.post("/v1/chat/completions", json=body)
            logging.getLogger("uvicorn.error").error("something else")
        finally:
            logging.getLogger("uvicorn.error").removeHandler(handler)
    return log_of(tmp_path, written.getvalue().rstrip("\n"))


def test_a_served_log_replayed_by_its_own_policy_changes_nothing(served: str, tmp_path: Path) -> None:
    assert MARKER not in Path(served).read_text("utf-8")
    found = data("--log", served, "--policy", policy(tmp_path), "--fail-on", "change")
    assert found["ok"] is True
    assert found["totals"] == {
        "decisions": 5, "same": 5, "changed": 0, "rebuilt": 0, "refused": 0,
        "isolation_ends": 0, "isolation_begins": 0,
    }  # fmt: skip
    assert found["changes"] == []
    assert {row["label"]: row["decisions"] for row in found["labels"]} == {"physics": 2, "sport": 1, "general": 2}
    assert found["log"]["other"]["plain text"] == found["log"]["other"]["lines of libraries"] == 1
    assert found["log"]["other"]["BackendAnswered"] == 5
    assert found["log"]["lines"] == 5 + sum(found["log"]["other"].values())
    assert "same 5" in run("--log", served, "--policy", policy(tmp_path)).stdout


def test_a_served_log_replayed_by_another_policy(served: str, tmp_path: Path) -> None:
    text = POLICY.replace("label: physics, at_least: 0.5", "label: physics, at_least: 0.95")
    text = text.replace("when: asked, alone: true", "when: asked").replace("at_most: 2", "at_most: 1")
    new = policy(tmp_path, text)
    found = data("--log", served, "--policy", new, "--examples", "1")
    assert [(row["change"], row["decisions"], len(row["examples"])) for row in found["changes"]] == [
        ("isolation_ends", 1, 1),
        ("refused", 1, 1),
        ("changed", 2, 1),
    ]
    leak, refused, changed = found["changes"]
    assert leak["before"]["adapters"] == {"academic": 1.0}
    assert leak["before"]["alone"] is True
    assert leak["after"]["adapters"] == {"academic": 1.0, "core": 1.0}
    assert leak["core_joins"] == ["core"]
    assert refused["after"] is None
    assert refused["refusal"]["code"] == "contradiction"
    assert changed["before"]["adapters"] == {"core": 1.0, "physics": 0.8}
    assert changed["after"]["adapters"] == {"core": 1.0}
    told = run("--log", served, "--policy", new)
    assert told.exit_code == 0  # a difference is not an error
    assert told.stdout.index("ISOLATION changes for 1 decision;") < told.stdout.index("other changes:")
    assert "academic=1.0,core=1.0; joining: core" in told.stdout


@pytest.mark.parametrize(("kind", "code"), [("isolation", 1), ("change", 1), ("refusal", 0)])
def test_fail_on_makes_a_change_an_error(tmp_path: Path, kind: str, code: int) -> None:
    new = policy(tmp_path, POLICY.replace("when: asked, alone: true", "when: asked"))
    log = log_of(tmp_path, line(blend=ACADEMIC))
    result = run("--log", log, "--policy", new, "--fail-on", kind)
    assert result.exit_code == code
    assert (f"--fail-on {kind}: 1 decision" in result.stderr) is bool(code)
    assert data("--log", log, "--policy", new, "--fail-on", kind, code=code)["ok"] is not bool(code)


def test_unknown_tenants_labels_without_scores_and_edited_lines_are_told(tmp_path: Path) -> None:
    new = policy(tmp_path, POLICY.replace("label: sport", "label: law"))
    own = load_policies(new).profile("default", None).revision
    log = log_of(tmp_path, line("a"), line("b", tenant="clinic"), line("c", policy=own, adapters={"core": 0.5}))
    found = data("--log", log, "--policy", new)
    assert found["tenants"][0] | {"decisions": 2} == found["tenants"][0]
    (unknown,) = [row for row in found["changes"] if row["change"] == "refused"]
    assert unknown["refusal"]["code"] == "unknown_profile"
    (gate,) = found["gates_without_scores"]
    assert (gate["adapter"], gate["label"], gate["without_score"], gate["decisions"]) == ("sport", "law", 2, 2)
    assert found["changed_by_their_own_policy"] == 1
    told = run("--log", log, "--policy", new).stdout
    assert "sport waits for the label law, for which 2 of 2 scored decisions hold no score" in told
    assert "1 decision changed although this very policy decided" in told


OLD = {
    key: value
    for key, value in json.loads(line()).items()
    if key not in ("scores", "asked", "alone", "classifier")
}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (json.dumps(OLD), "holds no `scores`: an older Agoge wrote it"),
        (line()[:-40], "is not JSON"),
        (line()[:9], "is not JSON"),
        (line() + line(), "is not JSON (trailing characters"),
        (line().replace("0.4,", "NaN,"), "is not JSON"),
        (line()[20:], "does not begin with '{'"),
        (f"router-1  | {line()}", "--no-log-prefix"),
        (line().encode().replace(b"physics", b"phys\xffics"), "is not JSON (invalid unicode"),
        (line("dec_\ud800"), "is not JSON (unexpected end of hex escape"),
        (line() + " " * 2**20, "longer than 1048576 bytes"),
        (line() + " " * (3 * 2**20), "longer than 1048576 bytes"),
        (line(tenant=None), "`tenant` is None; it must be a text"),
        (line(scores={"physics": 2}), "`scores` gives 'physics' 2"),
        ('{"fact":' * 100_000, "is not JSON"),
    ],
)
def test_a_line_that_cannot_be_replayed_is_named_and_the_others_count(
    tmp_path: Path, bad: str | bytes, said: str
) -> None:
    log = log_of(tmp_path, line("a"), "", bad, line("b"))
    result = run("--log", log, "--policy", policy(tmp_path))
    assert result.exit_code == 1
    assert f"{log}:3: " in result.stderr
    assert said in result.stderr
    found = data("--log", log, "--policy", policy(tmp_path), code=1)
    assert (found["log"]["lines"], found["log"]["decisions"]) == (4, 2)
    assert found["log"]["too_old"] + found["log"]["damaged"] == 1
    assert found["log"]["too_old"] == int("older" in said)
    (first,) = found["log"]["first_unreadable"]
    assert (first["file"], first["line"]) == (log, 3)
    assert found["wrong"][0].startswith("not replayed: 1 ")


@settings(deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.floats(0, 1)))
def test_scores_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, scores: dict[str, float]) -> None:
    log = log_of(tmp_path_factory.getbasetemp(), line(scores=scores), name="exact.log")
    (recorded,) = DecisionLog().read([Path(log)])
    assert recorded.scores.values == scores


def test_of_many_bad_lines_the_first_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    log = log_of(tmp_path, *[json.dumps(OLD)] * 30)
    result = run("--log", log, "--policy", policy(tmp_path))
    assert result.exit_code == 1
    assert result.stderr.count("holds no `scores`") == 10
    assert "... and 20 more" in result.stderr
    assert "not replayed: 30 decisions that an older Agoge wrote" in result.stderr


def test_several_logs_standard_input_and_gzip(tmp_path: Path) -> None:
    packed = tmp_path / "old.log.gz"
    packed.write_bytes(gzip.compress(f"{line('a')}\n{line('b')}\n".encode()))
    plain = log_of(tmp_path, line("c"))
    args = ("--log", str(packed), "--log", plain, "--log", "-", "--policy", policy(tmp_path), "--json")
    result = run(*args, stdin=f"{line('d')}\nnot JSON\n{{".encode())
    found = json.loads(result.stdout)
    assert found["totals"]["decisions"] == 4
    assert found["log"]["files"] == [str(packed), plain, "standard input"]
    assert found["log"]["first_unreadable"][0]["file"] == "standard input"
    assert found["log"]["first_unreadable"][0]["line"] == 3


def test_a_broken_archive_is_no_result(tmp_path: Path) -> None:
    packed = tmp_path / "half.gz"
    whole = gzip.compress("\n".join(line(f"dec_{n}", request=f"{n * n}") for n in range(500)).encode())
    packed.write_bytes(whole[: len(whole) // 2])
    result = run("--log", str(packed), "--policy", policy(tmp_path))
    assert result.exit_code == 1
    assert "half.gz: the compressed data is broken after line" in result.stderr
    assert data("--log", str(packed), "--policy", policy(tmp_path), code=1)["wrong"][0].startswith(str(packed))
    packed.write_bytes(b"not packed")
    assert "the compressed data is broken after line 0" in run("--log", str(packed)).stderr


def test_a_log_without_decisions_is_wrong(tmp_path: Path) -> None:
    log = log_of(tmp_path, "Agoge serves", '{"time": 1, "fact": "RequestRefused", "code": "x", "status": 400}')
    result = run("--log", log, "--policy", policy(tmp_path))
    assert result.exit_code == 1
    assert "no decision in it; give a log of `agoge serve`" in result.stderr
    assert "other lines: plain text (1), RequestRefused (1)" in result.stdout


def test_wrong_usage_exits_with_2_and_a_bad_policy_with_1(tmp_path: Path) -> None:
    log = log_of(tmp_path, line())
    assert run().exit_code == 2
    assert run("--log", str(tmp_path / "none.log")).exit_code == 2
    assert run("--log", str(tmp_path)).exit_code == 2
    twice = run("--log", log, "--log", log)
    assert (twice.exit_code, "given twice; its decisions would count twice" in twice.stderr) == (2, True)
    bad = run("--log", log, "--policy", policy(tmp_path, POLICY.replace("weight: 0.8", "weight: 0")))
    assert bad.exit_code == 1
    assert "adapters.physics.weight" in bad.stderr
