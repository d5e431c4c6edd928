"""What the service needs from the outside, as protocols. Drivers implement them; nothing here does anything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from router.core.blend import Blend
from router.core.facts import Fact
from router.core.outcome import Outcome
from router.core.reply import Event, Inventory, Probe, Prompt, Token
from router.core.scores import Neighbour, Scores
from router.core.trace import Span


class Scorer(Protocol):
    """Text -> scores. Costs milliseconds of CPU; implementations keep that off the event loop."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever any score could change."""
        ...

    @property
    def labels(self) -> frozenset[str]:
        """Every label it can score."""
        ...

    async def score(self, text: str) -> Scores:
        """Score one subject."""
        ...

    async def nearest(self, text: str, count: int) -> Sequence[Neighbour]:
        """Return the `count` nearest exemplars, nearest first."""
        ...


class DecisionCache(Protocol):
    """Digest -> bytes. May forget at any time. Raises CacheUnavailable (below) instead of waiting."""

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the value or None for each key, in their order. One round trip for all of them."""
        ...

    async def put(self, key: bytes, value: bytes) -> None:
        """Store the value for the cache's time to live. One round trip."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


@runtime_checkable
class SharedCache(DecisionCache, Protocol):
    """A cache that other processes see too."""

    async def put_many(self, items: Mapping[bytes, bytes], seconds: float) -> None:
        """Store every value for `seconds`. One round trip. Raises CacheUnavailable."""
        ...


class CacheUnavailable(Exception):
    """The cache is down or too slow. The service counts it and goes on as with a miss."""


class Claims(Protocol):
    """Who comes first, among all replicas. Raises CacheUnavailable instead of waiting."""

    async def claim(self, key: bytes, seconds: float) -> bool:
        """Take `key` for `seconds`: True for the first who asks, else False. One round trip."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


class Meter(Protocol):
    """Counts requests for all replicas, see `core/quota.py`. Raises CacheUnavailable instead of waiting."""

    async def spend(self, keys: Sequence[bytes], costs: Sequence[int]) -> tuple[bool, list[int]]:
        """Add each cost (microseconds) to its key's backlog, if all of them fit into a minute.

        Return whether they did, and the backlogs before. One round trip.
        """
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


class OutcomeStore(Protocol):
    """Keeps what people thought of decisions. What `add` returned from is not lost."""

    async def add(self, outcome: Outcome) -> None:
        """Keep one durably. Raises OutcomesUnavailable."""
        ...

    def read(self) -> AsyncIterator[Outcome]:
        """Yield all, oldest first. Raises OutcomesUnavailable."""
        ...

    async def aclose(self) -> None:
        """Release files and connections."""
        ...


class OutcomesUnavailable(Exception):
    """The store cannot be reached or written; the caller is told that nothing was kept."""


class Backend(Protocol):
    """An LLM engine. One stream method: a whole answer is a collected stream."""

    async def inventory(self) -> Inventory:
        """Return what it can serve right now. Raises BackendFailed when the engine does not answer."""
        ...

    def stream(self, prompt: Prompt) -> AsyncIterator[Event]:
        """Yield the answer: deltas, one Finish, then Usage when the engine counts tokens.

        Failures are BackendFailed subclasses, raised from the iterator: before the first event wherever the
        engine allows it. Closing the iterator (`aclose`) frees the engine at once. A blend outside the
        inventory is refused with BlendUnavailable and nothing is sent.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and threads."""
        ...


Probing = Callable[[Probe], Awaitable[Sequence[Token]]]
"""How a backend is asked by the canary: `Provable.probe`."""


@runtime_checkable
class Provable(Backend, Protocol):
    """A backend whose adapters can be proved by behaviour: it shows token logprobs."""

    async def probe(self, probe: Probe) -> Sequence[Token]:
        """Return the greedy continuation of `probe.text`, token by token, with at least the top 5 alternatives.

        Raises BlendUnavailable for a blend outside the inventory, and BackendFailed.
        """
        ...


Record = Callable[[Fact], None]


@runtime_checkable
class Looked(Protocol):
    """A backend that looks after others: it wants to know what will be asked for before anybody asks."""

    def look_after(self, blends: Mapping[Blend, object], record: Record) -> None:
        """Hear which blends may be asked for from now on, and where facts go; called at every policy load.

        Each blend comes with what it consists of: two blends with equal contents are one speaker by two names.
        """
        ...


@runtime_checkable
class Replicated(Protocol):
    """A backend that consists of several."""

    def states(self) -> Mapping[str, Mapping[str, object]]:
        """Return replica -> its `state` in words (`up` is healthy) and more, for people and for JSON."""
        ...


@runtime_checkable
class Ailing(Protocol):
    """A backend that knows when it had better not be asked first."""

    def ailing(self, blend: Blend) -> bool:
        """Say whether everybody in it who holds `blend` failed lately and is left alone for now."""
        ...


class Sink(Protocol):
    """Takes facts: metrics, log, tests. Must be quick and must not raise."""

    def record(self, fact: Fact) -> None:
        """Take one fact."""
        ...


class Served(Span, Protocol):
    """The span of a request that is served here."""

    def answered(self, method: str, route: str | None, status: int) -> None:
        """Say what was asked for (`route` is a pattern of ours, None for an unknown path) and the HTTP status."""
        ...


class Tracer(Protocol):
    """Begins traces. Must be quick and must not raise."""

    def request(self, headers: Mapping[str, str]) -> Served:
        """Begin the span of a request: a child of its caller's, where `headers` name one (`traceparent`)."""
        ...

    def close(self) -> None:
        """Send what is left, for a few seconds at the most. Blocks."""
        ...
