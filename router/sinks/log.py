"""Facts -> one JSON line each. No prompt text: facts have none."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TextIO

from router.core.facts import Decided, Fact


class LogSink:
    """Writes a line per fact to `stream` (standard error by default)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def record(self, fact: Fact) -> None:
        """Write one fact."""
        line: dict[str, object] = {"time": round(time.time(), 3), "fact": type(fact).__name__}
        if isinstance(fact, Decided):
            decision = fact.decision
            line |= {
                "id": fact.id,
                "tenant": decision.tenant,
                "role": decision.role,
                "label": decision.label,
                "score": round(decision.scores[decision.label], 4) if decision.label else None,
                "adapters": decision.blend.weights,
                "blend": decision.blend.id,
                "reason": decision.reason,
                "cache": fact.cache,
                "ms": round(fact.seconds * 1000, 3),
                "policy": decision.policy,
            }
        else:
            line |= asdict(fact)
        print(json.dumps(line, ensure_ascii=False), file=self._stream or sys.stderr, flush=True)
