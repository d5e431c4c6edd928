"""Progress and the log share standard error: the log is read by its lines, so none may begin behind a step."""

from __future__ import annotations

import json

import pytest

from router.cli.server import Say
from router.core.facts import CacheFailed
from router.sinks.log import LogSink


def test_a_fact_begins_a_line_and_the_step_goes_on_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    say = Say()
    (log,) = say.beside([LogSink()])
    log.record(CacheFailed("get", "before"))
    say("engine", None)
    log.record(CacheFailed("get", "during"))
    log.record(CacheFailed("put", "during"))
    say("engine", 0.5)
    say.done()
    log.record(CacheFailed("get", "after"))
    lines = capsys.readouterr().err.splitlines()
    facts = [json.loads(line)["error"] for line in lines if line.startswith("{")]
    assert facts == ["before", "during", "during", "after"]
    others = [line for line in lines if not line.startswith("{")]
    assert others[0] == "  engine ..."
    assert others[1].startswith("  engine ... 50% ready in ")
    assert len(others) == 2


def test_a_step_is_one_line_where_nothing_comes_between(capsys: pytest.CaptureFixture[str]) -> None:
    say = Say()
    for share in (None, 0.0, 0.04, 0.5, 1.0):
        say("classifier", share)
    say("engine", None)
    say.done()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("  classifier ... 0% 50% 100% ready in ")
    assert second.startswith("  engine ... ready in ")
