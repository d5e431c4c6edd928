"""A backend that serves only what was proved to act. Wraps one engine; knows it through the port only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from router.canary.findings import Answers, Findings, Limits, Line, Subject, served_as
from router.canary.proof import PART, prove
from router.core.blend import Blend
from router.core.errors import BackendFailed, BlendUnavailable
from router.core.facts import CanaryFinished
from router.core.reply import Event, Inventory, Probe, Prompt, Token
from router.ports import Provable, Record
from router.stream import close, place

PATIENCE = 10.0
"""Seconds that whoever asks for the inventory waits for a first proof: below the fleet's own limit."""
_FIRST_RETRY, _LONGEST_RETRY = 2.0, 60.0  # seconds after a round that could not be finished
_POLITENESS = 10.0  # seconds that one call of the canary waits for answers under way


@dataclass(frozen=True, slots=True)
class Manner:
    """How an engine is proved.

    `every` seconds, None for once only. `at_once` serves before the first proof, which begins after `delay`
    seconds, and asks nothing while an answer is under way: for an engine in this process, which shares its cores.
    """

    every: float | None = 300.0
    at_once: bool = False
    delay: float = 0.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What was found for a blend under the name that the engine served it by."""

    served: str
    content: object
    reason: str | None
    answers: Answers


class Proven:
    """`engine` under the name `name`. `reference` is served name -> what PEFT says, `base_reference` the base's.

    Nothing is served that `look_after` did not name and a proof did not pass, except in the manner `at_once`. A
    blend is proved again when its served name changes or was gone for a while, and everything when the engine was
    away: it may have come back with other flags.
    """

    def __init__(
        self,
        name: str,
        engine: Provable,
        manner: Manner | None = None,
        reference: Mapping[str, Sequence[Line]] | None = None,
        base_reference: Sequence[Line] = (),
    ) -> None:
        self.name, self.engine = name, engine
        self._manner = manner or Manner()
        self._reference, self._base_reference = reference or {}, base_reference
        self._wanted: dict[str, tuple[Blend, object]] = {}
        self._record: Record = lambda fact: None
        self._held: Inventory | None = None
        self._verdicts: dict[str, _Verdict] = {}
        self._gone: set[str] = set()  # not held for a moment of the round under way
        self._trouble: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._due, self._settled, self._quiet = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._quiet.set()
        self._open = self._next = self._away = 0
        self._patience = 0.0

    def look_after(self, blends: Mapping[Blend, object], record: Record) -> None:
        """Hear which blends to prove; see `ports.Looked`. The verdicts of those known already stay."""
        self._wanted = {blend.id: (blend, content) for blend, content in blends.items()}
        self._record = record

    async def inventory(self) -> Inventory:
        """Return what the engine holds, with everything that is not proved among the `withdrawn`.

        Waits for a first proof, `PATIENCE` seconds at most. Raises BackendFailed when the engine does not answer.
        """
        try:
            found = await self.engine.inventory()
        except BaseException:  # a look that was given up for its time limit too
            self._verdicts.clear()  # whatever comes back has to prove itself anew
            self._held = self._trouble = None
            self._away += 1
            raise
        self._held = found
        for blend_id, (blend, _) in self._wanted.items():
            if not found.serves(blend):  # unloaded: what comes back under its name may be something else
                self._verdicts.pop(blend_id, None)
                self._gone.add(blend_id)
        if self._missing() and self._trouble is None:  # after a trouble the next round has its own time
            self._begin()
        if not self._manner.at_once and not self._settled.is_set():
            await self._wait()
        return replace(found, withdrawn={**self._withdrawn(found), **found.withdrawn})

    async def _wait(self) -> None:
        rest = self._patience - time.monotonic()
        if rest > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._settled.wait()

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        if not self._due.is_set():
            self._due.set()
            self._settled.clear()
            self._patience = time.monotonic() + PATIENCE

    def _missing(self) -> list[str]:
        """Return the blends that the engine holds and that were not proved under their present names."""
        held = self._held
        if held is None:
            return []
        return [
            blend_id
            for blend_id, (blend, _) in self._wanted.items()
            if held.serves(blend) and self._verdict(blend, held) is None
        ]

    def _verdict(self, blend: Blend, held: Inventory) -> _Verdict | None:
        verdict = self._verdicts.get(blend.id)
        return verdict if verdict is not None and verdict.served == served_as(blend, held) else None

    def _withdrawn(self, held: Inventory) -> dict[str, str]:
        found = {}
        for blend_id, (blend, _) in self._wanted.items():
            if held.serves(blend) and (why := self._why_not(blend, held)) is not None:
                found[blend_id] = why
        return found

    def _why_not(self, blend: Blend, held: Inventory) -> str | None:
        verdict = self._verdict(blend, held)
        if verdict is not None:
            return verdict.reason and f"the canary: {verdict.reason}"
        if self._manner.at_once or not held.serves(blend):  # the engine itself says what it does not hold
            return None
        return f"not proved yet: {self._trouble}" if self._trouble else "being proved"

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Event, None]:
        """Yield the engine's answer. Raises BlendUnavailable, and asks nothing, for what must not be served."""
        why = self._why_not(prompt.blend, self._held) if self._held is not None else "the engine does not answer"
        if why is not None:
            raise BlendUnavailable(
                f"{self.name} must not be asked for the blend {prompt.blend.id} ({prompt.blend}): {why}",
                retry_after=5.0,
            )
        self._open += 1
        self._quiet.clear()
        source = self.engine.stream(prompt)
        try:
            async for event in source:
                yield event
        finally:
            self._open -= 1
            if not self._open:
                self._quiet.set()
            await close(source)

    async def _run(self) -> None:
        """Prove what is due, then everything again in turn, for ever."""
        await asyncio.sleep(self._manner.delay)
        retry = _FIRST_RETRY
        while True:
            finished = await self._round()
            if finished and self._missing():
                retry = _FIRST_RETRY
                continue
            self._settled.set()
            self._due.clear()
            pause = self._manner.every if finished else retry
            retry = _FIRST_RETRY if finished else min(_LONGEST_RETRY, retry * 2)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()

    async def _round(self) -> bool:
        """Prove one part: what is missing first, else the next ones in turn. Return whether that was finished."""
        held, away, started, calls = self._held, self._away, time.monotonic(), 0
        if held is None:
            return False
        subjects = self._part(held)
        if not subjects:
            return True
        self._gone.clear()

        async def ask(probe: Probe) -> Sequence[Token]:
            nonlocal calls
            calls += 1
            if self._manner.at_once:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_POLITENESS):
                        await self._quiet.wait()
            return await self.engine.probe(probe)

        known = {blend: (verdict.content, verdict.answers) for blend, verdict in self._verdicts.items()}
        try:
            findings = await prove(ask, subjects, self._manner.limits, self._base_reference, known)
        except (BackendFailed, BlendUnavailable) as error:
            self._trouble = error.message
        except Exception as error:  # a driver's own mistake must end no proving for good
            self._trouble = f"the driver failed ({place(error)})"
        else:
            if away != self._away:  # which of the two engines was heard, nobody knows
                return False
            self._trouble = None
            self._remember(subjects, findings)
        self._tell(time.monotonic() - started, calls)
        return self._trouble is None

    def _part(self, held: Inventory) -> list[Subject]:
        every = [blend_id for blend_id, (blend, _) in self._wanted.items() if held.serves(blend)]
        missing = self._missing()
        if len(missing) == 1:  # by itself it could not show whether adapters share a prefix cache
            missing += [blend_id for blend_id in every if blend_id not in missing][:1]
        if not missing:
            start = self._next if self._next < len(every) else 0
            missing = every[start : start + PART]
            self._next = start + PART
        wanted = [self._wanted[blend_id] for blend_id in missing[:PART]]
        return [Subject.of(blend, held, content, self._reference) for blend, content in wanted]

    def _remember(self, subjects: Sequence[Subject], findings: Findings) -> None:
        for subject in subjects:
            blend = subject.blend.id
            if blend in self._gone:
                continue
            reason = findings.findings[blend].reason
            answers = findings.answers.get(blend, {})
            self._verdicts[blend] = _Verdict(subject.served, subject.content, reason, answers)
        for blend, why in findings.failed.items():  # one of an earlier part may turn out to be another's double
            if blend in self._verdicts:
                self._verdicts[blend] = replace(self._verdicts[blend], reason=why)

    def _tell(self, seconds: float, calls: int) -> None:
        reasons = {blend: self._verdicts[blend].reason for blend in self._wanted if blend in self._verdicts}
        failed = {blend: why for blend, why in reasons.items() if why is not None}
        self._record(CanaryFinished(self.name, len(reasons) - len(failed), failed, seconds, calls, self._trouble))

    async def aclose(self) -> None:
        """End the proving and close the engine."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.engine.aclose()
