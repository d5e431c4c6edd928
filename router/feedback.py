"""What people think of decisions: checked against the decision that they mean, kept durably, told to the sinks."""

from __future__ import annotations

import time
from collections.abc import Callable

from router.core.errors import BadRequest
from router.core.facts import Fact, Judged
from router.core.outcome import Outcome, Verdict
from router.ports import OutcomeStore, OutcomesUnavailable, Scorer
from router.recent import Taken


class Feedback:
    """Keeps opinions in `store`; None is a router that keeps none. Labels are those that `scorer` scores."""

    def __init__(self, store: OutcomeStore | None, scorer: Scorer, record: Callable[[Fact], None]) -> None:
        self.store = store
        self._scorer = scorer
        self._record = record

    async def judge(
        self,
        taken: Taken,
        verdict: Verdict,
        label: str | None = None,
        text: str | None = None,
        channel: str = "api",
    ) -> Outcome:
        """Keep what a person thought of a decision; returns once that is durable.

        Raises BadRequest for a label that nobody scores or that contradicts the verdict, and OutcomesUnavailable.
        """
        decision = taken.decision
        if label is not None and label not in self._scorer.labels:
            known = ", ".join(sorted(self._scorer.labels))
            raise BadRequest(f"no label is called {label!r:.80}; there are {known}", param="label")
        if verdict == "right" and label not in (None, decision.label):
            raise BadRequest(
                f"right with the label {label} contradicts itself: the decision's was {decision.label or 'none'}; "
                "a wrong one may name the right label",
                param="label",
            )
        outcome = Outcome(
            taken.id,
            verdict,
            decision.label,
            decision.tenant,
            round(time.time(), 3),
            decision.role,
            label,
            text,
            channel,
            scored=decision.scored,
        )
        await self.keep(outcome)
        return outcome

    async def keep(self, outcome: Outcome) -> None:
        """Keep what somebody thought; returns once that is durable. Raises OutcomesUnavailable."""
        if self.store is None:
            raise OutcomesUnavailable("this router was started to keep no feedback")
        await self.store.add(outcome)
        given = (outcome.decision_id, outcome.verdict, outcome.decided, outcome.label, outcome.channel)
        self._record(Judged(*given))
