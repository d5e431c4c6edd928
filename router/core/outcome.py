"""What a person thought of a decision, as one frozen value. Knows no channel and no store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["right", "wrong"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict on one decision. `decided` is the label that it had, None where nothing was scored.

    `label` is what it should have been, where the person said so. `text` is the prompt, only where the person's
    channel handed it over on purpose: the one place where a prompt is ever kept. `at` is in seconds since 1970.
    `scored`: the label came from this very text; not so where an earlier turn's was inherited or the user named
    who speaks. Then the text teaches a classifier nothing.
    """

    decision_id: str
    verdict: Verdict
    decided: str | None
    tenant: str
    at: float
    role: str | None = None
    label: str | None = None
    text: str | None = None
    channel: str = "api"
    scored: bool = True
