"""The speakers of the canary's tests: four raw adapters, their blends as our composer writes them, and figures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blends.adapter import read_adapter
from blends.compose import Member, compose
from router.canary.findings import ENGLISH, PREFIX, RUSSIAN, Findings, Limits, Line, Subject
from router.canary.proof import prove
from router.core.blend import Blend
from router.core.reply import Probe, Token
from tests.backends.tiny_engine import SHAPES, Array, TinyEngine, exact, write_adapter

BASE = "some/base"
SOURCES = {name: f"./{name}" for name in ("core", "physics", "sport", "academic")}
CORE = Blend.of(BASE, {"core": 1.0}, SOURCES)
PHYSICS = Blend.of(BASE, {"core": 1.0, "physics": 0.8}, SOURCES)
SPORT = Blend.of(BASE, {"core": 1.0, "sport": 0.8}, SOURCES)
ACADEMIC = Blend.of(BASE, {"academic": 1.0}, SOURCES, alone=True)
BLENDS = (CORE, PHYSICS, SPORT, ACADEMIC)
QUICK = Limits(prompts=(ENGLISH, RUSSIAN, PREFIX[:160]))
"""The same proof on a shorter prefix: bytes are many tokens."""


@dataclass(frozen=True)
class Cast:
    """Blend id -> folder as composed, and adapter -> folder as trained (ranks that TGI would mis-scale too)."""

    folder: Path
    blends: Mapping[str, Path]
    raw: Mapping[str, Path]

    def reference(self, *blends: Blend, prompts: Sequence[str] = (ENGLISH, RUSSIAN)) -> dict[str, list[Line]]:
        """Return what exact sums in float64 say, without any cache: what PEFT says."""
        return {
            blend.id: lines([(self.raw[name], weight) for name, weight in blend.members], prompts)
            for blend in blends
        }


def lines(parts: Sequence[tuple[Path, float]], prompts: Sequence[str] = (ENGLISH, RUSSIAN)) -> list[Line]:
    model, found = TinyEngine(), []
    for prompt in prompts:
        said = model.dense(prompt, exact(parts), 8)
        texts = [chr(token) for token, _ in said]
        found.append(Line(prompt, texts, [float(logprobs[token]) for token, logprobs in said]))
    return found


def write_cast(folder: Path) -> Cast:
    """Write the adapters, of different ranks, scales and modules, and compose the blends."""
    raw = {
        "core": write_adapter(folder / "core", 1, 8, 16, ("q_proj", "v_proj")),
        "physics": write_adapter(folder / "physics", 2, 4, 8),
        "sport": write_adapter(folder / "sport", 3, 12, 12),
        "academic": write_adapter(folder / "academic", 4, 16, 32, ("q_proj", "k_proj", "v_proj")),
    }
    composed = {}
    for blend in BLENDS:
        members = [Member(read_adapter(raw[name]), weight) for name, weight in blend.members]
        compose(members, BASE, folder / blend.id)
        composed[blend.id] = folder / blend.id
    assert set(SHAPES) >= {"q_proj", "down_proj"}
    return Cast(folder, composed, raw)


def token(chosen: int, logprobs: Array, top: int = 5) -> Token:
    return Token(
        chr(chosen),
        float(logprobs[chosen]),
        {chr(each): float(logprobs[each]) for each in np.argsort(-logprobs)[:top]},
    )


def proved(
    engine: TinyEngine,
    blends: Sequence[Blend] = BLENDS,
    reference: Mapping[str, Sequence[Line]] | None = None,
    limits: Limits = QUICK,
) -> Findings:
    """Return one round of the canary on an engine, without a wire between them."""

    async def ask(probe: Probe) -> Sequence[Token]:
        said = []
        adapter = None if probe.blend is None else probe.blend.id
        for chosen, logprobs in engine.generate(probe.text, adapter, probe.tokens, cold=probe.cold):
            said.append(token(chosen, logprobs))
            await asyncio.sleep(0)
        return said

    subjects = [Subject(blend, blend.id, None, (reference or {}).get(blend.id, ())) for blend in blends]
    return asyncio.run(prove(ask, subjects, limits, lines([]) if reference else ()))
