"""How long an engine may take, phase by phase. Knows no engine; the drivers do the waiting."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits in seconds. One total limit would either cut long answers or wait too long for dead engines.

    `connect` bounds opening the connection and a health check, `first_token` the wait from sending the request
    to the first piece of the answer (queue and prefill included), `between_tokens` every later pause.
    Raises ValueError for a limit that is not positive.
    """

    connect: float = 5.0
    first_token: float = 60.0
    between_tokens: float = 30.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not value > 0:
                raise ValueError(f"timeouts.{limit.name} is {value!r}; it must be a positive number of seconds")
