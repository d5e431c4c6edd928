"""One round of the canary on an engine that really computes: each documented fault is found, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from router.canary.findings import PREFIX, Limits, Line
from router.core.blend import Blend
from tests.backends.tiny_engine import Array, TinyEngine, write_adapter
from tests.canary.cast import ACADEMIC, BASE, BLENDS, CORE, PHYSICS, SOURCES, SPORT, Cast, lines, proved

BF16 = 2**-9
"""Half a unit in the last place of bfloat16: the relative rounding error of one layer's output."""


@pytest.mark.parametrize("prefix_cache", ["", "adapter"])
@pytest.mark.parametrize("noise", [0.0, BF16])
def test_a_healthy_engine_passes_with_its_scale_proven(cast: Cast, prefix_cache: str, noise: float) -> None:
    engine = TinyEngine(cast.blends, prefix_cache=prefix_cache, noise=noise)
    found = proved(engine, reference=cast.reference(*BLENDS))
    assert found.failed == {}
    for finding in found.findings.values():
        figures = (finding.base, finding.nearest, finding.decode, finding.reference, finding.mixing)
        assert None not in figures
        assert min(finding.base or 0, finding.nearest or 0) > 0.5
        assert max(finding.decode or 0, finding.reference or 0, finding.mixing or 0) < (0.08 if noise else 1e-3)
    assert bool(engine.hits) == bool(prefix_cache)
    assert found.findings[CORE.id].neighbour in {blend.id for blend in BLENDS} - {CORE.id}


def test_no_false_alarm_in_many_noisy_rounds(cast: Cast) -> None:
    """Noise twice that of bf16, 10 rounds of 4 blends: not one of 40 verdicts is wrong."""
    reference = cast.reference(*BLENDS)
    engine = TinyEngine(cast.blends, prefix_cache="adapter", noise=2 * BF16)
    for _ in range(10):
        assert proved(engine, reference=reference).failed == {}


def test_a_piece_of_a_character_in_the_reference_is_no_false_alarm(cast: Cast) -> None:
    """Several tokens share the text of such a piece, and engines write it in their own ways or join it."""
    whole = cast.reference(CORE)[CORE.id]

    def cut(piece: str) -> dict[str, list[Line]]:
        return {
            CORE.id: [
                replace(line, tokens=[*line.tokens[:2], piece, *line.tokens[3:]],
                        logprobs=[*line.logprobs[:2], -9.0, *line.logprobs[3:]])
                for line in whole
            ]
        }  # fmt: skip

    assert proved(TinyEngine(cast.blends), (CORE,), cut("\ufffd")).failed == {}
    assert set(proved(TinyEngine(cast.blends), (CORE,), cut(whole[0].tokens[2])).failed) == {CORE.id}


@pytest.mark.parametrize("noise", [0.0, BF16])
def test_an_adapter_the_engine_was_not_launched_with_is_the_base(cast: Cast, noise: float) -> None:
    held = {name: folder for name, folder in cast.blends.items() if name != PHYSICS.id}
    found = proved(TinyEngine(held, noise=noise))
    assert set(found.failed) == {PHYSICS.id}
    assert "acts like the bare base model at the first token" in found.failed[PHYSICS.id]


@pytest.mark.parametrize("noise", [0.0, BF16])
def test_adapters_that_act_on_the_prefill_only(cast: Cast, noise: float) -> None:
    found = proved(TinyEngine(cast.blends, cuda_graphs=True, noise=noise))
    assert set(found.failed) == {blend.id for blend in BLENDS}
    assert all("later tokens are not computed with it" in why for why in found.failed.values())
    # Comparing with the base alone would not tell: what the prefill left in the cache colours the later tokens.
    assert all(finding.base is not None and finding.base > 0.5 for finding in found.findings.values())


@pytest.mark.parametrize("noise", [0.0, BF16])
def test_a_prefix_cache_that_adapters_share(cast: Cast, noise: float) -> None:
    engine = TinyEngine(cast.blends, prefix_cache="tokens", noise=noise)
    found = proved(engine, reference=cast.reference(*BLENDS))
    assert set(found.failed) == {blend.id for blend in BLENDS}  # one of them filled the cache: nobody can be sure
    assert all("adapters share a prefix cache" in why for why in found.failed.values())
    assert all((finding.reference or 0) < 0.05 for finding in found.findings.values())  # alone they are right


class BorrowingBase(TinyEngine):
    """vLLM's CPU kernels: a request to the base that shares a batch with others is answered by an adapter."""

    def generate(
        self, text: str, adapter: str | None, count: int, *, cold: bool = False
    ) -> Iterator[tuple[int, Array]]:
        return super().generate(text, adapter if adapter or cold else PHYSICS.id, count, cold=cold)


def test_a_base_that_borrows_an_adapter_withdraws_nobody(cast: Cast) -> None:
    """Nobody is served by the base, and the adapters themselves are what they should be."""
    for blends in ((CORE,), (CORE, PHYSICS), BLENDS):
        assert proved(BorrowingBase(cast.blends), blends).failed == {}


@pytest.mark.parametrize(("rank", "shards"), [(12, 1), (4, 1), (24, 1), (8, 2)])
@pytest.mark.parametrize("noise", [0.0, BF16])
def test_ranks_that_tgi_pads_come_out_at_a_wrong_scale(
    cast: Cast, tmp_path: Path, rank: int, shards: int, noise: float
) -> None:
    """Raw adapters, as trained: TGI serves them without a word. A bucketed one passes beside them."""
    raw = write_adapter(tmp_path / "raw", 1, rank, 2 * rank, ("q_proj", "v_proj"))
    right = write_adapter(tmp_path / "right", 4, 16 * shards, 32 * shards, ("q_proj", "k_proj", "v_proj"))
    engine = TinyEngine({CORE.id: raw, ACADEMIC.id: right}, shards=shards, noise=noise)
    reference = {CORE.id: lines([(raw, 1.0)]), ACADEMIC.id: lines([(right, 1.0)])}
    found = proved(engine, (CORE, ACADEMIC), reference)
    assert set(found.failed) == {CORE.id}
    assert "not what PEFT computes" in found.failed[CORE.id]
    blind = proved(engine, (CORE, ACADEMIC))
    assert blind.failed == {}  # without a reference nobody can know: the finding says that it is not proven
    assert blind.findings[CORE.id].reference is None


def test_two_names_for_one_adapter_are_both_refused_unless_they_mean_the_same(cast: Cast) -> None:
    double = Blend.of(BASE, {"sport": 1.0}, SOURCES)
    engine = TinyEngine({**cast.blends, double.id: cast.blends[SPORT.id]})
    found = proved(engine, (CORE, SPORT, double))
    assert set(found.failed) == {SPORT.id, double.id}
    assert f"cannot be told from {double.id}" in found.failed[SPORT.id]
    assert f"cannot be told from {SPORT.id}" in found.failed[double.id]


def test_a_wrong_adapter_under_a_right_name_is_told_by_peft_alone(cast: Cast) -> None:
    swapped = {**cast.blends, CORE.id: cast.blends[ACADEMIC.id], ACADEMIC.id: cast.blends[CORE.id]}
    found = proved(TinyEngine(swapped), reference=cast.reference(*BLENDS))
    assert set(found.failed) == {CORE.id, ACADEMIC.id}


def test_several_faults_at_once_are_all_found(cast: Cast) -> None:
    held = {name: folder for name, folder in cast.blends.items() if name != ACADEMIC.id}
    found = proved(TinyEngine(held, cuda_graphs=True))
    assert "acts like the bare base" in found.failed[ACADEMIC.id]
    assert "later tokens" in found.failed[CORE.id]


def test_the_number_of_calls_is_linear_and_as_documented(cast: Cast) -> None:
    """Base: 3 cold twice, 4 later places or fewer, 2 at once. Blend: 3 + 3 + 2."""
    two, four = (proved(TinyEngine(cast.blends), BLENDS[:count]).calls for count in (2, 4))
    assert four - two == 2 * (3 + 3 + 2)
    assert two <= 2 * 8 + 12
    prompts = ("Another prompt",)
    reference = cast.reference(*BLENDS, prompts=prompts)
    assert proved(TinyEngine(cast.blends), reference=reference).calls == four + len(BLENDS)


def test_the_prefix_as_it_is_shipped(cast: Cast) -> None:
    """Longer than the 256 tokens that engines share at a time, if tokens are words of five letters."""
    assert len(PREFIX) > 256 * 4
    limits = replace(Limits(), tokens=4)
    assert proved(TinyEngine(cast.blends, prefix_cache="adapter"), (CORE,), limits=limits).failed == {}
    found = proved(TinyEngine(cast.blends, prefix_cache="tokens"), (CORE,), limits=limits)
    assert set(found.failed) == {CORE.id}
