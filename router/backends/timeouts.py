"""How long an engine may take, phase by phase. Knows no engine; the drivers do the waiting."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields

from router.core.errors import BackendTimeout


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


class Deadline:
    """When the next piece of one answer must be there: the first token's limit, then each pause's own.

    Starts running when it is made, in the running loop.
    """

    def __init__(self, backend: str, timeouts: Timeouts) -> None:
        self._backend, self._timeouts = backend, timeouts
        self.began = False
        self._restart(timeouts.first_token)

    def waiting(self) -> asyncio.Timeout:
        """Return the context to wait in; it raises TimeoutError when the deadline passes."""
        return asyncio.timeout_at(self._at)

    def moved(self) -> None:
        """A piece of the answer came: the next one has its own time."""
        self.began = True
        self._restart(self._timeouts.between_tokens)

    def missed(self) -> BackendTimeout:
        """Return the error that says which limit passed."""
        return late(self._backend, "next token" if self.began else "first token", self._seconds)

    def _restart(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds


def late(backend: str, limit: str, seconds: float) -> BackendTimeout:
    """Return the error of a limit that passed."""
    return BackendTimeout(f"{backend}: no {limit} within {seconds:g} s", backend=backend)
