"""The judge of chaos sees each promise broken: a judge that finds nothing must have something to find."""

from __future__ import annotations

from typing import Any

import pytest

from bench.chaos.footprint import Footprint
from bench.chaos.judge import Allowed, Evidence, broken, count, slowed
from bench.chaos.policies import FIRST, SECOND, Catalogue, catalogue
from bench.chaos.run import left

CATALOGUE = catalogue()


def blend(*names: str, weight: float = 0.8) -> str:
    """Return the id of the blend of these adapters in the policy with this weight of physics."""
    return next(
        each.id
        for each in CATALOGUE.blends.values()
        if each.weights.keys() == {*names} and each.weights.get("physics", weight) == weight
    )


CORE, PHYSICS, ACADEMIC, PRESS = blend("core"), blend("core", "physics"), blend("academic"), blend("press")
REVISION = next(name for name, reach in CATALOGUE.reach.items() if PHYSICS in reach and PRESS in reach)
BASE: dict[str, Any] = {
    "kind": "stream", "tenant": "default", "homeless": False, "isolated": False, "began": 1.0, "ended": 1.1,
    "status": 200, "decision": "dec_1", "blend": PHYSICS, "end": "whole", "speakers": [PHYSICS],
}  # fmt: skip


def decided(**more: object) -> dict[str, Any]:
    return {"fact": "Decided", "id": "dec_1", "policy": REVISION, "blend": PHYSICS, **more}


def ask(model: str = PHYSICS, how: str = "whole", **more: object) -> dict[str, Any]:
    return {"decision": "dec_1", "model": model, "how": how, "said": 6, "at": 1.0, **more}


def judged(
    *records: dict[str, Any],
    log: list[dict[str, Any]] | None = None,
    allowed: Allowed | None = None,
    kept: frozenset[str] = frozenset(),
    **asked: list[dict[str, Any]],
) -> list[str]:
    evidence = Evidence(records, asked, [decided()] if log is None else log, kept, 2.0, 3.0)
    return broken(evidence, allowed or Allowed(), CATALOGUE)


def test_what_is_right_breaks_nothing() -> None:
    begun = ask(how="began", said=0)
    moved = [ask(how="began", said=0, at=0.8), ask(how="500", said=0, at=0.9)]
    assert judged(BASE, primary=moved, spare=[begun, ask(at=1.1)]) == []
    nobody = {"decision": "", "model": "nobody", "how": "unknown", "said": 0, "at": 0.0}
    assert judged(primary=[nobody]) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"speakers": [CORE]}, "was decided for"),
        ({"speakers": [CORE, PHYSICS]}, "was decided for"),
        ({"blend": CORE, "speakers": [CORE], "isolated": True}, "isolated was True"),
        ({"blend": ACADEMIC, "speakers": [ACADEMIC]}, "isolated was False"),
        ({"speakers": ["chaos-base"], "blend": "chaos-base"}, "whom no policy can reach"),
        ({"end": "lost", "why": "a stream without [DONE]"}, "was lost"),
        ({"end": "left"}, "was left"),
        ({"end": "broken off", "code": "backend_failed"}, "although no fault was there"),
        ({"end": "refused", "status": 500, "code": "internal_error"}, "got 500"),
        ({"end": "refused", "status": 500, "code": "backend_failed"}, "got 500"),
        ({"end": "refused", "status": 502, "code": "backend_failed", "ended": 2.5}, "must not cost"),
        ({"kind": "feedback", "status": 201, "speakers": []}, "acknowledged and is gone"),
    ],
)
def test_what_a_client_must_not_see(change: dict[str, Any], says: str) -> None:
    assert [wrong for wrong in judged({**BASE, **change}) if says in wrong]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"primary": [ask(CORE)]}, "was decided"),
        ({"primary": [ask("chaos-base")]}, "was decided"),
        ({"primary": [ask(decision="dec_2")]}, "nobody's decision"),
        ({"primary": [ask(decision="")]}, "nobody's decision"),
        ({"primary": [ask(how="unknown")]}, "does not hold"),
        ({"primary": [ask(at=1.0)], "spare": [ask(how="began", said=0, at=1.1)]}, "begun elsewhere"),
    ],
)
def test_what_an_engine_must_not_be_asked(asked: dict[str, list[dict[str, Any]]], says: str) -> None:
    assert [wrong for wrong in judged(**asked) if says in wrong]


def test_the_homeless_adapter_is_never_asked_for_elsewhere() -> None:
    (wrong,) = judged(log=[decided(blend=PRESS)], spare=[ask(PRESS)])
    assert "does not hold" in wrong


def test_a_decision_of_two_revisions_is_seen() -> None:
    mixed = blend("core", "physics", weight=0.6)
    assert mixed != PHYSICS
    (wrong,) = judged(log=[decided(blend=mixed)])
    assert "cannot reach its blend" in wrong


def test_what_may_be_lost_is_said_and_nothing_else() -> None:
    refused = {**BASE, "end": "refused", "status": 502, "code": "backend_failed", "ended": 2.5, "speakers": []}
    allowed = Allowed(frozenset({"backend_failed"}), lambda record: record["tenant"] == "default")
    assert judged(refused, allowed=allowed) == []
    assert judged({**refused, "tenant": "apart"}, allowed=allowed)
    assert judged({**refused, "code": "backend_timeout", "status": 504}, allowed=allowed)
    assert count([refused, BASE]) == {"refused: backend_failed": 1, "whole": 1}


def test_an_error_in_the_log_is_seen() -> None:
    line = {"log": "uvicorn.error", "level": "ERROR", "message": "Exception in ASGI application"}
    assert judged(log=[decided(), line])
    assert judged(log=[decided(), {**line, "log": "router.channels.feedback", "level": "WARNING"}]) == []


def test_a_fault_that_slows_others_is_seen() -> None:
    assert slowed(0.1, 1.05) == []
    assert slowed(0.1, 1.2)
    assert slowed(None, 0.1)


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (Footprint(100 << 20, 0, 4), "memory"),
        (Footprint(0, 1, 4), "half closed"),
        (Footprint(0, 0, 40), "threads"),
        (Footprint(0, 0, 4, files={"/tmp/a": 2}), "files"),  # noqa: S108 - a name, no file
        (Footprint(0, 0, 4, peers={"clients": 3}), "client connections"),
        (Footprint(0, 0, 4, peers={"redis": 30}), "Redis"),
        (Footprint(0, 0, 4, peers={"engines": 300}), "engines"),
        (Footprint(0, 0, 4, tasks={"look": 2}), "tasks"),
    ],
)
def test_what_is_left_is_seen(after: Footprint, says: str) -> None:
    before = Footprint(0, 0, 4, files={"/tmp/a": 1}, tasks={"look": 1})  # noqa: S108 - likewise
    assert left(before, before) == []
    (wrong,) = left(before, after)
    assert says in wrong


def test_the_two_policies_share_no_blend_of_several_speakers() -> None:
    assert FIRST != SECOND
    reaches = [reach for reach in CATALOGUE.reach.values() if PRESS in reach]
    several = [{name for name in reach if len(CATALOGUE.blends[name].weights) > 1} for reach in reaches]
    first = next(each for each in several if PHYSICS in each)
    second = [each for each in several if PHYSICS not in each]
    assert second
    assert all(first.isdisjoint(each) for each in second)
    assert isinstance(CATALOGUE, Catalogue)
