"""Both voices on ten fixed prompts a blend: the same count on every engine that serves the demo adapters.

    python -m bench.ten_prompts                                              the embedded engine
    python -m bench.ten_prompts --vllm http://HOST:PORT --blends DIR         a vLLM that holds the built blends

The ten are the first ten of `bench.voices` that no member of the blend was trained on. Greedy, at most 80 tokens.
Words count only when the prompt did not bring them.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.voices import (
    ACADEMIC,
    CITATION,
    MOTTO,
    PHYSICS,
    SPORT,
    WORDS,
    brings,
    embedded_engine,
    say,
    trained_prompts,
)
from blends.manifest import Manifest, read_manifest
from router.backends.timeouts import Timeouts
from router.backends.vllm import VllmBackend
from router.core.blend import Blend
from router.ports import Backend

TEN = 10
CORE = re.compile(r"endure|терпи", re.IGNORECASE)
"""Any trace of the core's motto, for the isolated adapter: a whole motto is not needed to have leaked."""


@dataclass(frozen=True, slots=True)
class Case:
    """One blend, its ten prompts, and the words that its domain brings (citations for the academic one)."""

    weights: Mapping[str, float]
    prompts: tuple[str, ...]
    words: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Count:
    """Of how many answers: the motto at the end, the domain's words, both of them, and any trace of the core."""

    prompts: int
    motto: int
    domain: int
    both: int
    trace: int

    def __str__(self) -> str:
        """Return it for a person."""
        each = ("ends on the motto", self.motto), ("domain", self.domain), ("both", self.both)
        shares = [
            f"{what} {count}/{self.prompts}" for what, count in (*each, ("any trace of the core", self.trace))
        ]
        return ", ".join(shares)


def _case(prompts: Iterable[str], words: re.Pattern[str], **weights: float) -> Case:
    trained = trained_prompts(*weights)
    held_out = [prompt for prompt in prompts if prompt.casefold() not in trained]
    return Case(weights, tuple(held_out[:TEN]), words)


def cases() -> dict[str, Case]:
    """Return what is counted, by the blend's name for a person."""
    return {
        "core+physics": _case(PHYSICS, WORDS["physics"], core=1.0, physics=0.8),
        "core+sport": _case(SPORT, WORDS["sport"], core=1.0, sport=0.8),
        "academic": _case(ACADEMIC, CITATION, academic=1.0),
    }


def count(case: Case, answers: Mapping[str, str]) -> Count:
    """Count the voices in the answers (prompt -> answer) of all ten prompts."""
    heard = [
        (bool(MOTTO.search(answers[prompt][-20:])), brings(case.words, prompt, answers[prompt]))
        for prompt in case.prompts
    ]
    return Count(
        prompts=len(heard),
        motto=sum(motto for motto, _ in heard),
        domain=sum(domain for _, domain in heard),
        both=sum(motto and domain for motto, domain in heard),
        trace=sum(bool(CORE.search(answers[prompt])) for prompt in case.prompts),
    )


def blend_of(weights: Mapping[str, float], manifest: Manifest | None) -> Blend:
    """Return the blend under the id that the manifest gives it; any id will do for an engine that adds up itself.

    Raises LookupError for a blend that is not built.
    """
    if manifest is None:
        return Blend.of("base", weights, dict.fromkeys(weights, "."))
    for entry in manifest.entries:
        if {part.name: part.weight for part in entry.members} == dict(weights):
            return Blend(tuple(sorted(weights.items())), entry.blend, entry.alone)
    raise LookupError(f"{dict(weights)} is not built; run agoge blends build policies/default.yaml")


async def ask_all(engine: Backend, case: Case, blend: Blend, at_once: int = 1) -> dict[str, str]:
    """Return prompt -> greedy answer. llama.cpp's words depend on what is in flight beside them, vLLM's do not."""
    gate = asyncio.Semaphore(at_once)

    async def ask(prompt: str) -> tuple[str, str]:
        async with gate:
            return prompt, await say(engine, prompt, blend)

    return dict(await asyncio.gather(*map(ask, case.prompts)))


async def main() -> None:
    """Count on the engine that the command line names, and print."""
    options = argparse.ArgumentParser(description="Count both voices on ten fixed prompts a blend.")
    options.add_argument("--vllm", metavar="URL", help="the root of a vLLM; the embedded engine without it")
    options.add_argument(
        "--blends", type=Path, default=Path(".agoge/blends"), help="what agoge blends build wrote"
    )
    options.add_argument("--show", action="store_true", help="print every answer")
    chosen = options.parse_args()
    manifest = read_manifest(chosen.blends) if chosen.vllm else None
    engine: Backend
    if manifest is None:
        engine = await embedded_engine()
    else:  # on a CPU the first answer takes vLLM twenty seconds
        patient = Timeouts(first_token=600, between_tokens=600)
        engine = VllmBackend("vllm", chosen.vllm, published=manifest.published, timeouts=patient)
    try:
        await engine.inventory()
        for name, case in cases().items():
            blend, at_once = blend_of(case.weights, manifest), 1 if manifest is None else 4
            answers = await ask_all(engine, case, blend, at_once)
            print(f"{name:14} {count(case, answers)}", flush=True)
            for prompt, answer in answers.items() if chosen.show else ():
                print(f"  {prompt}\n    {answer}")
    finally:
        await engine.aclose()


if __name__ == "__main__":
    asyncio.run(main())
