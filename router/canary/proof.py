"""One round of the canary: everything that is asked of one engine, in order, and what follows from it.

Per speaker (the base and every blend): each prompt cold, once; three later tokens again as first tokens; PEFT's
prompts where there are any; and one long prompt twice while all others ask it too. That is about nine calls per
blend, linear in their number; comparing each with each is arithmetic. All greedy, with token log-probabilities.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from statistics import median_low

from router.canary.distance import distance, drift, expected_gaps, gap, gaps, whole
from router.canary.findings import Answers, Finding, Findings, Limits, Line, Subject
from router.core.blend import Blend
from router.core.errors import BackendBroken, BackendOverloaded, BackendRefused, BlendUnavailable
from router.core.reply import Probe, Token
from router.ports import Probing

BASE = ""  # the base's name among the speakers; no blend id is empty
_AGAIN = (0.5, 1.0, 2.0, 4.0)  # seconds to wait for an engine that is full: the canary is in no hurry
_FAR = 0.5  # a base this far from its reference is another base: nothing follows for its adapters


PART = 32
"""Blends in one round. A larger closure is proved in parts: a round stays about 300 calls long."""


async def prove(
    ask: Probing,
    subjects: Sequence[Subject],
    limits: Limits,
    base_reference: Sequence[Line] = (),
    known: Mapping[str, tuple[object, Answers]] | None = None,
) -> Findings:
    """Ask the engine everything about `subjects` once, and judge.

    `known` are the contents and answers of blends that were proved in earlier rounds (a large closure is proved in
    parts), to be told apart from these. Raises BackendFailed when the engine does not go through with it.
    """
    round_ = _Round(ask, subjects, limits, base_reference)
    started = time.monotonic()
    await round_.listen()
    await asyncio.to_thread(round_.compare, known or {})
    await round_.check_decoding()
    await round_.check_scale()
    await round_.check_mixing()
    return Findings(round_.findings, round_.noise, round_.calls, time.monotonic() - started, round_.answers)


async def prove_all(
    ask: Probing, subjects: Sequence[Subject], limits: Limits, base_reference: Sequence[Line] = ()
) -> Findings:
    """Prove any number of subjects, part by part, and return one result. Raises what `prove` raises."""
    findings: dict[str, Finding] = {}
    known: dict[str, tuple[object, Answers]] = {}
    noise, calls, seconds = 0.0, 0, 0.0
    for start in range(0, len(subjects), PART):
        part = subjects[start : start + PART]
        found = await prove(ask, part, limits, base_reference, known)
        for blend, finding in found.findings.items():  # one of an earlier part may be the double of one of these
            findings[blend] = replace(findings[blend], reason=finding.reason) if blend in findings else finding
        known |= {each.blend.id: (each.content, found.answers.get(each.blend.id, {})) for each in part}
        noise, calls, seconds = max(noise, found.noise), calls + found.calls, seconds + found.seconds
    answers = {blend: heard for blend, (_, heard) in known.items()}
    return Findings(findings, noise, calls, seconds, answers)


class _Round:
    def __init__(
        self, ask: Probing, subjects: Sequence[Subject], limits: Limits, base_reference: Sequence[Line]
    ) -> None:
        self._ask, self._limits, self._base_reference = ask, limits, base_reference
        self._subjects = {subject.blend.id: subject for subject in subjects}
        self._blends: dict[str, Blend | None] = {BASE: None} | {s.blend.id: s.blend for s in subjects}
        self.answers: dict[str, dict[str, Sequence[Token]]] = {}
        self.findings = {blend: Finding(blend) for blend in self._subjects}
        self.noise = 0.0
        self.calls = 0
        self._repeated = 0.0

    # What is heard

    async def _probe(self, speaker: str, text: str, tokens: int, *, cold: bool) -> Sequence[Token]:
        for pause in _AGAIN:
            self.calls += 1
            try:
                return await self._ask(Probe(text, tokens, self._blends[speaker], cold))
            except BackendOverloaded:
                await asyncio.sleep(pause)
        self.calls += 1
        return await self._ask(Probe(text, tokens, self._blends[speaker], cold))

    async def listen(self) -> None:
        """Hear every speaker alone, cold; the base twice, first and last: what differs then is noise."""
        for speaker in self._blends:
            try:
                self.answers[speaker] = await self._heard(speaker)
            except (BlendUnavailable, BackendRefused, BackendBroken) as error:
                if speaker == BASE:
                    raise
                self._fail(speaker, f"the engine gives no answer with it: {error.message}")
        again = await self._heard(BASE)
        for prompt, tokens in self.answers[BASE].items():
            self._repeated = max(self._repeated, *gaps(tokens, again[prompt]), 0.0)

    async def _heard(self, speaker: str) -> dict[str, Sequence[Token]]:
        tokens = self._limits.tokens
        return {prompt: await self._probe(speaker, prompt, tokens, cold=True) for prompt in self._limits.prompts}

    # What follows

    def compare(self, known: Mapping[str, tuple[object, Answers]]) -> None:
        """Tell every blend from the base and from every other one."""
        limit = max(self._limits.same, self._limits.margin * self._repeated)
        base = self.answers[BASE]
        others = {blend: heard for blend, heard in known.items() if blend not in self._subjects}
        fresh = [blend for blend in self._subjects if blend in self.answers]
        contents = {blend: (self._subjects[blend].content, self.answers[blend]) for blend in fresh}
        for blend in fresh:
            away = distance(self.answers[blend], base)
            self._found(blend, base=away.first)
            if where := away.within(limit):
                self._fail(blend, f"it acts like the bare base model {where} ({_figures(away.first, limit)})")
        for blend in fresh:
            content, heard = contents[blend]
            for other, (its_content, its_answers) in (others | contents).items():
                if other == blend or (content is not None and content == its_content):
                    continue
                away = distance(heard, its_answers)
                nearest = self.findings[blend].nearest
                if nearest is None or away.first < nearest:
                    self._found(blend, nearest=away.first, neighbour=other)
                if where := away.within(limit):
                    why = f"cannot be told from {{}} {where} ({_figures(away.first, limit)})"
                    self._fail(blend, "it " + why.format(other))
                    if other not in self._subjects:
                        self.findings[other] = Finding(other, reason="it " + why.format(blend))

    async def check_decoding(self) -> None:
        """Ask later tokens again as first ones: the prefill must give what decoding gave.

        An adapter that acts on the prefill only leaves a coloured cache behind, so its later tokens differ from
        the base's as well; only this tells. Prompts may be cut into other tokens when they are longer, so the
        median of several places decides, and of more before anything is refused.
        """
        measured = await self._strays(BASE, more=True)
        base = median_low(measured) if measured else 0.0
        self.noise = max(self._repeated, base)
        for blend in self._standing():
            limit = self._tolerance(blend)
            measured = await self._strays(blend)
            if measured and median_low(measured) > limit:
                measured += await self._strays(blend, more=True)
            if measured:
                stray = median_low(measured)
                self._found(blend, decode=stray)
                if stray > limit:
                    figures = _figures(stray, limit)
                    self._fail(blend, f"its later tokens are not computed with it, only the first ({figures})")

    async def _strays(self, speaker: str, *, more: bool = False) -> list[float]:
        found = []
        for prompt, count in zip(self._limits.prompts, (2, 1), strict=False):
            tokens = self.answers[speaker].get(prompt, ())
            places = _places(tokens)
            for place in places[count : count + 2] if more else places[:count]:
                text = prompt + "".join(token.text for token in tokens[:place])
                with suppress(BackendBroken):  # it ends here this time: a near tie, or the text was cut otherwise
                    again = await self._probe(speaker, text, 1, cold=True)
                    found.append(gap(tokens[place], again[0]))
        return found

    async def check_scale(self) -> None:
        """Hold the answers against PEFT's, where there are any: a wrong scale is a speaker too, only not this."""
        base = await self._error(BASE, self._base_reference) or 0.0
        limit = max(self._limits.scale, 2 * base)
        for blend in self._standing():
            error = await self._error(blend, self._subjects[blend].reference)
            if error is None or base > _FAR:
                continue
            self._found(blend, reference=error)
            if error > limit:
                self._fail(blend, f"its scale or weights are not what PEFT computes ({_figures(error, limit)})")

    async def _error(self, speaker: str, reference: Sequence[Line]) -> float | None:
        errors: list[float] = []
        for line in reference:
            heard = self.answers[speaker].get(line.prompt, ())
            if len(heard) < len(line.tokens):
                heard = await self._probe(speaker, line.prompt, len(line.tokens), cold=True)
            errors += expected_gaps(heard, line.tokens, line.logprobs)
        return sum(errors) / len(errors) if errors else None

    async def check_mixing(self) -> None:
        """Let all speak at once on one long prompt, twice, and hear whether any blend sounds different.

        Whichever does was given somebody else's state: the first to ask is spared, so no blend is trusted then.
        The base asks along and is not judged: nobody is served by it, and vLLM on a CPU answers it by an adapter
        of its batch without ever confusing the adapters.
        """
        speakers = [speaker for speaker in self._blends if speaker in self.answers]
        blends = [speaker for speaker in speakers if speaker != BASE]
        if not blends:
            return
        limits = {blend: self._tolerance(blend) for blend in blends}
        strays: dict[str, float] = dict.fromkeys(speakers, 0.0)
        for order in (speakers, speakers[::-1]):
            for speaker, stray in (await self._together(order)).items():
                strays[speaker] = max(strays[speaker], stray)
        suspects = [blend for blend in blends if strays[blend] > limits[blend]]
        if suspects:  # once more, before anything is refused
            again = await self._together(speakers)
            strays |= {blend: min(strays[blend], again[blend]) for blend in suspects}
            suspects = [blend for blend in suspects if strays[blend] > limits[blend]]
        for blend in blends:
            self._found(blend, mixing=strays[blend])
        if suspects:
            worst = max(suspects, key=lambda blend: strays[blend])
            for blend in self._standing():
                figures = f"{worst} strays: {_figures(strays[worst], limits[worst])}"
                self._fail(
                    blend, f"adapters share a prefix cache: asked at once, they change each other ({figures})"
                )

    async def _together(self, speakers: Sequence[str]) -> dict[str, float]:
        prompt = self._limits.prompts[-1]
        slots = asyncio.Semaphore(self._limits.together)

        async def one(speaker: str) -> float:
            async with slots:
                heard = await self._probe(speaker, prompt, self._limits.tokens, cold=False)
            return drift(self.answers[speaker][prompt], heard)

        strays = await asyncio.gather(*map(one, speakers), return_exceptions=True)
        for stray in strays:  # only now: none of them may still be asking when the round is given up
            if isinstance(stray, BaseException):
                raise stray
        return dict(zip(speakers, (stray for stray in strays if isinstance(stray, float)), strict=True))

    # Bookkeeping

    def _tolerance(self, blend: str) -> float:
        """Return how far a blend may stray from itself."""
        change = self.findings[blend].base or 0.0
        return max(self._limits.stray, self._limits.margin * self.noise, self._limits.share * change)

    def _standing(self) -> list[str]:
        return [blend for blend in self._subjects if self.findings[blend].reason is None]

    def _found(self, blend: str, **values: object) -> None:
        self.findings[blend] = replace(self.findings[blend], **values)  # type: ignore[arg-type]

    def _fail(self, blend: str, why: str) -> None:
        if self.findings[blend].reason is None:  # the first thing found out is the plainest
            self._found(blend, reason=why)


def _places(tokens: Sequence[Token]) -> list[int]:
    """Return the later places worth asking again, best first: before a new word, and late in the answer.

    A text that ends inside a word, or inside a character, may be cut into other tokens than it was made of.
    """
    whole_until = next((at for at, token in enumerate(tokens) if not whole(token.text)), len(tokens))
    return sorted(range(1, whole_until), key=lambda at: (not tokens[at].text[:1].isspace(), -at))


def _figures(found: float, limit: float) -> str:
    return f"{found:.3f}, the limit is {limit:.3f}"
