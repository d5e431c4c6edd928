"""The spine, and nothing else: conversation -> directive -> subject -> scores -> decision -> plan -> reply."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from secrets import token_hex
from typing import Any, Literal

from router.closing import Closing
from router.core.blend import Blend
from router.core.conversation import Conversation
from router.core.decide import decide, decide_chore
from router.core.decision import Decision
from router.core.facts import Began, CacheFailed, Decided, Fact
from router.core.follow import Followed, follow
from router.core.key import decision_key, seal, unseal
from router.core.modes import Modes
from router.core.policy import Policies, Policy
from router.core.reading import Reading, confirmation, read
from router.core.reply import Delta, Event, Finish, Prompt, Usage
from router.core.scores import NOTHING_SCORED, Neighbour, Scores
from router.core.stages import Stages
from router.core.subject import Turn
from router.feedback import Feedback
from router.fleet import Fleet
from router.ports import (
    CacheUnavailable,
    DecisionCache,
    OutcomeStore,
    Scorer,
    SharedCache,
    Sink,
)
from router.recent import Recent, Taken
from router.shared_recent import Exemplars, SharedRecent
from router.stream import Reply

_read_again = lru_cache(maxsize=256)(Decision.from_json)  # those of prompts that come often are read once
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
    """A decision with what belongs to this one request: its id, its reading, and where it came from.

    `nearest` are the exemplars around the subject, where scoring it has just told them; None out of the cache.
    """

    id: str
    decision: Decision
    reading: Reading
    policy: Policy
    state: State
    cache: Literal["hit", "miss"]
    nearest: tuple[Neighbour, ...] | None = None

    @property
    def taken(self) -> Taken:
        """What may be kept of it: everything but the conversation."""
        return Taken(self.id, self.decision, self.policy, self.reading.asked_by, self.cache, self.nearest)

    @property
    def subject(self) -> str:
        """The text whose scores decided, "" when none did: an earlier turn's when they were inherited."""
        back = self.decision.inherited
        return self.reading.turns[-1 - back].subject.text if back else self.reading.subject


class Router:
    """Holds the order of the spine. `state` is the one reference that a reload swaps."""

    def __init__(
        self,
        state: State,
        scorer: Scorer,
        cache: DecisionCache,
        secret: bytes,
        sinks: Sequence[Sink] = (),
        outcomes: OutcomeStore | None = None,
        exemplars: Exemplars | None = None,
    ) -> None:
        """With `exemplars`, a cache that other processes see makes decisions known to them too."""
        self.state = state
        self.scorer = scorer
        self.cache = cache
        self.recent = Recent()
        if exemplars is not None and isinstance(cache, SharedCache):
            self.recent = SharedRecent(cache, secret, exemplars, self._in_force, self.record)
        self.closing = Closing()
        self.feedback = Feedback(outcomes, scorer, self.record)
        self._secret = secret
        self._sinks = tuple(sinks)
        self._storing: set[asyncio.Task[None]] = set()

    def _in_force(self, tenant: str, role: str | None) -> Policy | None:
        return self.state.policies.profiles.get((tenant, role))

    def record(self, fact: Fact) -> None:
        """Hand a fact to every sink."""
        for sink in self._sinks:
            sink.record(fact)

    async def decide(self, ask: Ask) -> Routed:
        """Decide who should speak. Raises Refused when the caller asked for what cannot be."""
        return await self._decide(ask, self.state)

    async def _decide(self, ask: Ask, state: State) -> Routed:
        started = time.perf_counter()
        stages = Stages()
        policy = state.policies.profile(ask.tenant, ask.role)
        modes = state.modes[ask.tenant, ask.role]
        with stages("read"):
            if len(ask.conversation.messages) > LONG:
                reading = await asyncio.to_thread(read, ask.conversation, ask.model, modes)
            else:
                reading = read(ask.conversation, ask.model, modes)
        cache: Literal["hit", "miss"] = "miss"
        nearest: tuple[Neighbour, ...] | None = None
        if reading.chore:  # nothing is scored and nothing read, so there is nothing to remember either
            chosen = (
                decide_chore(policy) if reading.asked is None else decide(policy, NOTHING_SCORED, reading.asked)
            )
            decision = replace(chosen, classifier=self.scorer.fingerprint)
        else:
            with stages("cache"):
                keys = [self._key(ask, policy, reading, turn) for turn in _asked_for(reading)]
                known, before = await self._recall(keys)
            if known is None:
                decision, nearest = await self._take(policy, reading, before, stages)
                self._remember(keys[0], decision)
            else:
                decision, cache = known, "hit"
        routed = Routed(f"dec_{token_hex(16)}", decision, reading, policy, state, cache, nearest)
        self.recent.keep(routed.taken)
        seconds = time.perf_counter() - started
        self.record(Decided(routed.id, decision, cache, seconds, ask.request_id, reading.asked, stages.seconds))
        return routed

    def _key(self, ask: Ask, policy: Policy, reading: Reading, turn: Turn | None) -> bytes:
        """Return the key of the decision for `turn`, as it was or will be asked; None is a bare directive's."""
        return decision_key(
            self._secret,
            policy_revision=policy.revision,
            classifier_fingerprint=self.scorer.fingerprint,
            tenant=ask.tenant,
            role=ask.role,
            asked=turn.asked if turn else reading.asked,
            # The subject too, marked: nothing else here tells a bare directive from the turn before it, whose own
            # subject may be empty (an emoji).
            prefix=[*reading.prefix(turn), f"={turn.subject.text}" if turn else ""],
        )

    async def _take(
        self, policy: Policy, reading: Reading, before: Decision | None, stages: Stages
    ) -> tuple[Decision, tuple[Neighbour, ...] | None]:
        """Decide anew, and tell the exemplars around the text that decided, where it was just scored.

        `before` is the previous turn's decision; without it the turns before are scored again.
        """
        followed = Followed(NOTHING_SCORED, lasts=False)
        if reading.confirms is None:
            work = follow(reading.turns, None if before is None else _followed(before))
            try:
                text = next(work)
                while True:
                    with stages("score"):
                        scores = await self.scorer.score(text)
                    text = work.send(scores)
            except StopIteration as done:
                followed = done.value
        with stages("decide"):
            decision = replace(
                decide(policy, followed.scores, reading.asked),
                classifier=self.scorer.fingerprint,
                inherited=followed.back,
                lasts=followed.lasts,
            )
        return decision, followed.scores.nearest

    async def answer(self, ask: Ask, decided: Callable[[Routed], object] | None = None) -> tuple[Routed, Reply]:
        """Decide, plan, and return a reply that has begun. Raises Refused while nothing was promised yet.

        `decided` hears who will speak before the engine is asked: a channel may tell that to whoever waits.
        """
        state, caller = self.state, (ask.tenant, ask.role)
        with state.fleet.held():  # a reload meanwhile must not retire these engines under the request
            state.fleet.admission.refuse_early(state.policies.profile(*caller).backends, caller)
            routed = await self._decide(ask, state)
            if decided is not None:
                decided(routed)
            stages = Stages()
            with stages("plan"):
                attempts = await state.fleet.plan(routed.decision.blend, routed.policy.backends)
            if routed.reading.confirms is not None:
                return routed, Reply("router", False, _confirm(routed))
            prompt = Prompt(routed.decision.blend, routed.reading.messages, ask.parameters, routed.id)
            reply = await state.fleet.dispatch(attempts, prompt, caller, stages)
            self.record(Began(routed.id, reply.backend, stages.seconds))
            return routed, reply

    async def _recall(self, keys: Sequence[bytes]) -> tuple[Decision | None, Decision | None]:
        """Return this turn's decision and the one before it, as far as they are known: one round trip for both."""
        try:
            sealed = await self.cache.get_many(keys)
        except CacheUnavailable as error:
            self.record(CacheFailed("get", str(error)))
            return None, None
        found = [self._opened(key, value) for key, value in zip(keys, sealed, strict=True)]
        return found[0], found[1] if len(found) > 1 else None

    def _opened(self, key: bytes, sealed: bytes | None) -> Decision | None:
        try:
            return None if sealed is None else _read_again(unseal(self._secret, key, sealed))
        except ValueError as error:  # bytes that are not ours
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


def _asked_for(reading: Reading) -> Sequence[Turn | None]:
    """Return whose decisions are looked up: the last message's first, then that of the turn it may follow."""
    return (None,) if reading.confirms is not None else reading.turns[:-3:-1]


def _followed(decision: Decision) -> Followed:
    return Followed(Scores(decision.scores, decision.out_of_domain), decision.inherited, decision.lasts)


async def _confirm(routed: Routed) -> AsyncGenerator[Event, None]:
    """Answer a bare directive: nothing was asked of an engine, so none is called."""
    yield Delta(confirmation(routed.reading, routed.policy))
    yield Finish("stop")
    yield Usage(0, 0)
