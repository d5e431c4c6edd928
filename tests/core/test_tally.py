"""Counting: every decision once in each table, the gravest change first, gates that no score can open."""

from __future__ import annotations

from router.core.recorded import Recorded
from router.core.replay import Change, Replay
from router.core.scores import Scores
from router.core.tally import Tally
from tests.core.test_replay import ACADEMIC, OLD, PHYSICS, document, policies, recorded

SPORT = Scores({"physics": 0.1, "sport": 0.9})
LOOSE = policies(
    document(
        physics={"from": "./physics", "when": {"label": "physics", "at_least": 0.9}, "weight": 0.8},
        sport={"from": "./sport", "when": {"label": "sport", "at_least": 0.5}},
        law={"from": "./law", "when": {"label": "law", "at_least": 0.5}},
        academic={"from": "./academic", "when": "asked"},
    )
)


def counted(*decisions: Recorded, examples: int = 2) -> Tally:
    tally, replay = Tally(examples), Replay(LOOSE)
    for number, taken in enumerate(decisions):
        taken = taken._replace(id=f"dec_{number}")
        tally.add(taken, replay.again(taken))
    return tally


MANY = [recorded(OLD, PHYSICS, None)] * 3 + [recorded(OLD, SPORT, None), recorded(OLD, PHYSICS, ACADEMIC)]
QUIET = recorded(OLD, Scores(), None)  # nothing was scored: the core alone, then and now


def test_every_decision_is_in_every_table_once() -> None:
    tally = counted(*MANY, QUIET)
    assert tally.by_change()[Change.CHANGED] == 4
    assert tally.by_change()[Change.ISOLATION_ENDS] == tally.by_change()[Change.SAME] == 1
    for table in (tally.by_label(), tally.by_caller(), tally.by_policy(), tally.by_classifier()):
        assert sum(counts.total() for counts in table.values()) == 6
    assert {label: counts.total() for label, counts in tally.by_label().items()} == {
        "physics": 4,
        "sport": 1,
        None: 1,
    }
    assert next(iter(tally.by_label())) == "physics"


def test_transitions_begin_with_isolation_and_hold_a_few_ids() -> None:
    first, second, third = counted(*MANY, QUIET).transitions()
    assert first.replayed.change is Change.ISOLATION_ENDS
    assert (first.count, first.examples) == (1, ("dec_4",))
    assert (second.count, second.examples) == (3, ("dec_0", "dec_1"))  # the most frequent of the others
    assert (third.count, third.examples) == (1, ("dec_3",))
    assert all(t.examples == () for t in counted(*MANY, examples=0).transitions())


def test_gates_that_no_recorded_score_can_open_are_named() -> None:
    (law,) = counted(*MANY, QUIET).unscored(LOOSE)
    assert (law.adapter, law.label, law.without, law.scored) == ("law", "law", 5, 5)  # QUIET has no scores at all
    with_law = recorded(OLD, Scores({"physics": 0.2, "sport": 0.2, "law": 0.6}), None)
    (law,) = counted(*MANY, with_law).unscored(LOOSE)
    assert (law.without, law.scored) == (5, 6)


def test_a_decision_that_its_own_policy_would_not_take_is_counted() -> None:
    assert counted(*MANY).unsteady(LOOSE) == 0  # another policy took them
    edited = MANY[0]._replace(policy=LOOSE.profile("default", None).revision)
    assert counted(*MANY, edited).unsteady(LOOSE) == 1
