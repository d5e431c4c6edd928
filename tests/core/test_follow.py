"""Whose scores hold: fast attack, slow release, and the same result with and without a memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.follow import REACH, Followed, follow
from router.core.scores import NOTHING_SCORED, Scores
from router.core.subject import Turn

SURE, WEAK = 0.97, 0.4
KNOWN = {
    "почему небо голубое": ("physics", SURE),
    "как варить борщ": ("cooking", SURE),
    "а в вакууме?": ("physics", WEAK),
    "а ипотека?": ("economics", SURE),
    "зелёные мысли спят яростно": ("law", WEAK),
    "расскажи анекдот": ("general", 0.99),
    "напомни купить молоко": ("general", 0.8),
    "давай поговорим о молоке": ("general", 0.5),
    "а можно молоко?": ("general", 0.99),
}
FOLLOW_UPS = ["подробнее", "спасибо!", "почему?", "🙂", "why?", "расскажи ещё"]


def scored(text: str) -> Scores:
    """Return what a classifier knows of a text: follow-ups look like small talk to it."""
    label, top = KNOWN.get(text, ("general", 0.99))
    others = [name for name in ("physics", "cooking", "economics", "law", "general") if name != label]
    return Scores({label: top, **dict.fromkeys(others, (1 - top) / len(others))})


def settle(texts: list[str], recalled: Followed | None = None) -> tuple[Followed, list[str]]:
    """Return what the last of `texts` is about, and what had to be scored for it."""
    work = follow([Turn(text) for text in texts], recalled)
    asked: list[str] = []
    try:
        text = next(work)
        while True:
            asked.append(text)
            text = work.send(scored(text))
    except StopIteration as done:
        result: Followed = done.value
        return result, asked


def label(*texts: str) -> str | None:
    return settle(list(texts))[0].scores.label


@pytest.mark.parametrize(
    "follow_up", [*FOLLOW_UPS, "а в вакууме?", "зелёные мысли спят яростно", "а можно молоко?"]
)
def test_what_leans_or_is_unclear_keeps_the_subject(follow_up: str) -> None:
    assert label("почему небо голубое", follow_up) == "physics"
    assert label("почему небо голубое", "спасибо!", follow_up) == "physics"


@pytest.mark.parametrize(
    ("text", "switched"),
    [
        ("как варить борщ", "cooking"),
        ("а ипотека?", "economics"),
        ("расскажи анекдот", "general"),
        ("напомни купить молоко", "general"),
    ],
)
def test_what_is_clear_switches_at_once(text: str, switched: str) -> None:
    assert label("почему небо голубое", "подробнее", text) == switched
    assert label("почему небо голубое", text, "подробнее") == switched


def test_small_talk_has_to_be_clearer_than_a_subject() -> None:
    assert label("почему небо голубое", "давай поговорим о молоке") == "physics"


def test_the_first_turn_with_a_subject_stands_however_unclear_it_is() -> None:
    assert label("спасибо!", "зелёные мысли спят яростно", "подробнее") == "law"


def test_nothing_to_lean_on_is_scored_by_itself() -> None:
    followed, asked = settle(["привет"])
    assert (followed.scores.label, followed.back, followed.lasts, asked) == ("general", 0, False, ["привет"])
    assert settle(["🙂"]) == (Followed(NOTHING_SCORED, lasts=False), [])


def test_out_of_domain_is_unclear() -> None:
    work = follow(
        [Turn("почему небо голубое"), Turn("зелёные мысли спят яростно")], Followed(scored("как варить борщ"))
    )
    next(work)
    with pytest.raises(StopIteration) as done:
        work.send(Scores({"law": 0.99}, out_of_domain=True))
    assert done.value.value.scores.label == "cooking"


def test_what_is_remembered_costs_nothing_more() -> None:
    before, _ = settle(["почему небо голубое"])
    assert settle(["почему небо голубое", "подробнее"], before)[1] == []
    assert settle(["почему небо голубое", "а в вакууме?"], before)[1] == ["а в вакууме?"]
    assert settle(["почему небо голубое", "подробнее"])[1] == ["почему небо голубое"]


def test_a_subject_is_forgotten_in_the_end_and_no_more_is_worked_through() -> None:
    at_the_end = settle(["почему небо голубое", *["подробнее"] * REACH])[0]
    assert (at_the_end.scores.label, at_the_end.back) == ("physics", REACH)
    beyond, asked = settle(["почему небо голубое", *["подробнее"] * (REACH + 1)])
    assert (beyond.scores.label, beyond.back, beyond.lasts) == ("general", 0, False)
    assert asked == ["подробнее"]
    assert len(settle(["почему небо голубое", *["зелёные мысли спят яростно"] * 100])[1]) == REACH + 1


@given(st.lists(st.sampled_from([*KNOWN, *FOLLOW_UPS]), min_size=1, max_size=40))
def test_a_memory_changes_no_result(texts: list[str]) -> None:
    """Turn after turn with the one before remembered, and each one worked out alone: the same, scores and all."""
    remembered: Followed | None = None
    for count in range(1, len(texts) + 1):
        alone, asked = settle(texts[:count])
        remembered, asked_now = settle(texts[:count], remembered)
        assert remembered == alone
        assert len(asked_now) <= 1
        assert len(asked) <= REACH + 1
