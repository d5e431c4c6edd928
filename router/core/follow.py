"""What is being talked about now: this turn's own scores, or those of the turn that it follows. Knows no cache.

Fast attack: a turn whose own scores are clear is believed at once, whatever was talked about before. Slow release:
one that leans on the conversation ("а подробнее?"), or says nothing clear, keeps the subject of the last turn that
stood for itself. Whether a turn stands is judged by itself alone. So whoever remembers what the turn before came
to, and whoever works through the last REACH turns anew, find the same.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from router.core.leaning import Leaning
from router.core.scores import NOTHING_SCORED, Scores
from router.core.subject import Turn

REACH = 12
"""Turns after which a subject is forgotten when none has stood for itself since: no more are worked through."""

GENERAL = "general"
"""The label of small talk, which every follow-up resembles: it needs more to be believed."""

_NEVER = 2.0
_CLEAR = {Leaning.NOT: 0.45, Leaning.SHORT: 0.8, Leaning.PARTLY: 0.7, Leaning.WHOLLY: _NEVER}
_CLEAR_GENERAL = {Leaning.NOT: 0.7, Leaning.SHORT: 0.98, Leaning.PARTLY: _NEVER, Leaning.WHOLLY: _NEVER}
"""The least score that is believed at once; chosen on the development part of tests/data/dialogues."""


@dataclass(frozen=True, slots=True)
class Followed:
    """The scores that hold, and how many turns back they come from (0: from this one).

    `lasts`: the next turn may follow them. Those of a turn that neither stands nor follows do not last.
    """

    scores: Scores
    back: int = 0
    lasts: bool = True


def follow(turns: Sequence[Turn], recalled: Followed | None) -> Generator[str, Scores, Followed]:
    """Work out what the last of `turns` (oldest first, at least one) is about.

    Yields each text that has to be scored and is sent its scores. `recalled` is what this function returned for
    the turn before, None when nobody remembers: then those before are worked through, as far back as needed.
    """
    now = turns[-1].subject
    own: Scores | None = None
    if now.leaning is not Leaning.WHOLLY:
        own = yield now.text
        if _stands(own, now.leaning, turns[:-1]):
            return Followed(own)
    before = recalled or (yield from _last_that_stands(turns[:-1]))
    if before is not None and before.lasts and before.back < REACH:
        return Followed(before.scores, before.back + 1)
    if own is None:
        own = (yield now.text) if now.text else NOTHING_SCORED
    return Followed(own, lasts=False)


def _last_that_stands(turns: Sequence[Turn]) -> Generator[str, Scores, Followed | None]:
    for back in range(min(REACH, len(turns))):
        at = len(turns) - 1 - back
        subject = turns[at].subject
        if subject.leaning is not Leaning.WHOLLY:
            own = yield subject.text
            if _stands(own, subject.leaning, turns[:at]):
                return Followed(own, back)
    return None


def _stands(own: Scores, leaning: Leaning, before: Sequence[Turn]) -> bool:
    """Say whether a turn is believed by itself: it is clear, or it is the first with a subject of its own."""
    if (label := own.label) is not None:
        limits = _CLEAR_GENERAL if label == GENERAL else _CLEAR
        if own.values[label] >= limits[leaning]:
            return True
    return all(turn.subject.leaning is Leaning.WHOLLY for turn in reversed(before))
