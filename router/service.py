"""The spine, and nothing else: conversation -> directive -> subject -> scores -> decision -> plan -> reply."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from router.core.blend import Blend
from router.core.conversation import Conversation
from router.core.decide import decide
from router.core.decision import Decision
from router.core.facts import CacheFailed, Decided, Fact
from router.core.key import decision_key, seal, unseal
from router.core.modes import Modes
from router.core.policy import Policies, Policy
from router.core.reading import Reading, confirmation, read
from router.core.reply import Delta, Event, Finish, Prompt, Usage
from router.core.scores import NOTHING_SCORED
from router.fleet import Fleet
from router.ports import CacheUnavailable, DecisionCache, Scorer, Sink
from router.stream import Reply

LONG = 64  # messages; beyond, looking for directives in them may take longer than others should wait


@dataclass(frozen=True, slots=True)
class Ask:
    """A parsed request, whatever channel it came through.

    `request_id` is the caller's own name for it, for the log. Engines are told the decision's id instead: that
    one is unique, and it is ours.
    """

    conversation: Conversation
    model: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = "default"
    role: str | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Everything a request depends on. A reload builds a new one and swaps one reference."""

    policies: Policies
    modes: Mapping[tuple[str, str | None], Modes]
    closure: Mapping[tuple[str, str | None], tuple[Blend, ...]]
    fleet: Fleet


@dataclass(frozen=True, slots=True)
class Routed:
    """A decision with what belongs to this one request: its id, its reading, and where it came from."""

    id: str
    decision: Decision
    reading: Reading
    policy: Policy
    state: State
    cache: Literal["hit", "miss"]


class Router:
    """Holds the order of the spine. `state` is the one reference that a reload swaps."""

    def __init__(
        self, state: State, scorer: Scorer, cache: DecisionCache, secret: bytes, sinks: Sequence[Sink] = ()
    ) -> None:
        self.state = state
        self.scorer = scorer
        self.cache = cache
        self._secret = secret
        self._sinks = tuple(sinks)
        self._storing: set[asyncio.Task[None]] = set()

    def record(self, fact: Fact) -> None:
        """Hand a fact to every sink."""
        for sink in self._sinks:
            sink.record(fact)

    async def decide(self, ask: Ask) -> Routed:
        """Decide who should speak. Raises Refused when the caller asked for what cannot be."""
        return await self._decide(ask, self.state)

    async def _decide(self, ask: Ask, state: State) -> Routed:
        started = time.perf_counter()
        policy = state.policies.profile(ask.tenant, ask.role)
        modes = state.modes[ask.tenant, ask.role]
        if len(ask.conversation.messages) > LONG:
            reading = await asyncio.to_thread(read, ask.conversation, ask.model, modes)
        else:
            reading = read(ask.conversation, ask.model, modes)
        key = decision_key(
            self._secret,
            policy_revision=policy.revision,
            classifier_fingerprint=self.scorer.fingerprint,
            tenant=ask.tenant,
            role=ask.role,
            asked=reading.asked,
            # The subject too: behind a bare directive it is empty, and nothing else here would tell that apart.
            prefix=[*(message.text for message in reading.messages if message.role == "user"), reading.subject],
        )
        decision = await self._recall(key)
        cache: Literal["hit", "miss"] = "hit" if decision else "miss"
        if decision is None:
            scores = await self.scorer.score(reading.subject) if reading.subject.strip() else NOTHING_SCORED
            decision = replace(decide(policy, scores, reading.asked), classifier=self.scorer.fingerprint)
            self._remember(key, decision)
        routed = Routed(f"dec_{uuid.uuid4().hex}", decision, reading, policy, state, cache)
        seconds = time.perf_counter() - started
        self.record(Decided(routed.id, decision, cache, seconds, ask.request_id, reading.asked))
        return routed

    async def answer(self, ask: Ask) -> tuple[Routed, Reply]:
        """Decide, plan, and return a reply that has begun. Raises Refused while nothing was promised yet."""
        state = self.state
        with state.fleet.held():  # a reload meanwhile must not retire these engines under the request
            routed = await self._decide(ask, state)
            attempts = await state.fleet.plan(routed.decision.blend, routed.policy.backends)
            if routed.reading.confirms is not None:
                return routed, Reply("router", False, _confirm(routed))
            prompt = Prompt(routed.decision.blend, routed.reading.messages, ask.parameters, routed.id)
            return routed, await state.fleet.dispatch(attempts, prompt)

    async def _recall(self, key: bytes) -> Decision | None:
        try:
            sealed = await self.cache.get(key)
            return None if sealed is None else Decision.from_json(unseal(self._secret, key, sealed))
        except (CacheUnavailable, ValueError) as error:  # ValueError: bytes that are not ours
            self.record(CacheFailed("get", str(error)))
            return None

    def _remember(self, key: bytes, decision: Decision) -> None:
        """Store in the background: the request pays for one round trip, the look-up."""
        task = asyncio.create_task(self._store(key, seal(self._secret, key, decision.to_json().encode())))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def _store(self, key: bytes, value: bytes) -> None:
        try:
            await self.cache.put(key, value)
        except CacheUnavailable as error:
            self.record(CacheFailed("put", str(error)))


async def _confirm(routed: Routed) -> AsyncGenerator[Event, None]:
    """Answer a bare directive: nothing was asked of an engine, so none is called."""
    yield Delta(confirmation(routed.reading, routed.policy))
    yield Finish("stop")
    yield Usage(0, 0)
