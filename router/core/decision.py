"""A decision: one frozen value that is dispatched, cached, logged and explained. Never holds prompt text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from router.core.blend import Blend


class Reason(StrEnum):
    """Why one adapter speaks or stays silent, or why a whole decision came out as it did."""

    ALWAYS = "always"  # in: the policy says so, named or not
    SCORED = "scored"  # in: its gate opened and it ranked among the best `at_most`
    ASKED = "asked"  # in: the user named it
    OTHERWISE = "otherwise"  # in: no gate opened; whole decision: likewise
    ISOLATED = "isolated"  # out: another adapter speaks alone
    BELOW = "below_gate"  # out: its label's score is under the gate
    CROWDED_OUT = "crowded_out"  # out: its gate opened, but better scores filled `at_most`
    NOT_ASKED = "not_asked"  # out: it only speaks when named, or somebody else was named
    CHORE = "chore"  # in: the front end's own task is the core's; out: nobody else takes part in one
    OUT_OF_DOMAIN = "out_of_domain"  # out: the subject is unlike everything taught


@dataclass(frozen=True, slots=True)
class Verdict:
    """One adapter's fate in one decision. `score` and `gate` are None for adapters without a label gate."""

    adapter: str
    speaks: bool
    reason: Reason
    weight: float
    label: str | None = None
    score: float | None = None
    gate: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Blend + verdicts + revisions. `label` is the classifier's best guess even when the user asked.

    `reason` sums up: ASKED (the user named adapters), SCORED (a gate opened), OTHERWISE (none did), CHORE. An
    isolated blend is recognised by `blend.alone`. `verdicts` is sorted by adapter name and leaves out those that
    only speak when named and were not (`decide.told_of_all` adds them). `inherited`: how many turns back the
    scores come from, 0: they are the last message's own. `lasts`: the next turn may inherit them.
    """

    blend: Blend
    verdicts: tuple[Verdict, ...]
    reason: Reason
    label: str | None
    scores: Mapping[str, float]
    out_of_domain: bool
    policy: str
    classifier: str = ""
    tenant: str = "default"
    role: str | None = None
    inherited: int = 0
    lasts: bool = True

    @property
    def scored(self) -> bool:
        """Whether the label came from this very text: not inherited, and nobody named who speaks."""
        return self.reason in (Reason.SCORED, Reason.OTHERWISE) and not self.inherited

    def why(self) -> str:
        """Return one sentence for a person: who speaks and why."""
        said = []
        for verdict in self.verdicts:
            if not verdict.speaks:
                continue
            if verdict.reason is Reason.SCORED:
                said.append(f"{verdict.adapter}: {verdict.label} {verdict.score:.2f} >= {verdict.gate:.2f}")
            else:
                said.append(f"{verdict.adapter}: {verdict.reason}")
        if self.out_of_domain:
            said.append("subject out of domain")
        if self.inherited:
            said.append(f"subject inherited from {self.inherited} turn{'s' if self.inherited > 1 else ''} before")
        return "; ".join(said)

    def to_json(self) -> str:
        """Return the decision as compact JSON, for the cache."""
        return json.dumps(
            {
                "blend": [self.blend.members, self.blend.id, self.blend.alone],
                "verdicts": [
                    [v.adapter, v.speaks, v.reason, v.weight, v.label, v.score, v.gate] for v in self.verdicts
                ],
                "reason": self.reason,
                "label": self.label,
                "scores": dict(self.scores),
                "out_of_domain": self.out_of_domain,
                "policy": self.policy,
                "classifier": self.classifier,
                "tenant": self.tenant,
                "role": self.role,
                "inherited": self.inherited,
                "lasts": self.lasts,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Decision:
        """Read back what `to_json` wrote. Raises ValueError when it is anything else."""
        try:
            raw: dict[str, Any] = json.loads(text)
            members, blend_id, alone = raw.pop("blend")
            if type(raw["inherited"]) is not int or raw["inherited"] < 0 or type(raw["lasts"]) is not bool:
                raise ValueError("inherited is a count, lasts true or false")
            return cls(
                blend=Blend(tuple((name, weight) for name, weight in members), blend_id, alone),
                verdicts=tuple(
                    Verdict(adapter, speaks, Reason(reason), weight, label, score, gate)
                    for adapter, speaks, reason, weight, label, score, gate in raw.pop("verdicts")
                ),
                reason=Reason(raw.pop("reason")),
                **raw,
            )
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"not a decision: {error}") from error
