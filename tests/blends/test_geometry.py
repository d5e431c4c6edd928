"""Geometry from the factors, against the full matrices and against angles known by construction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from blends.adapter import LoraAdapter, read_adapter
from blends.geometry import compare
from tests.blends.conftest import ADAPTERS

Array = NDArray[np.float32]


def written(place: Path, factors: Mapping[str, tuple[Array, Array]], alpha: int = 4) -> LoraAdapter:
    """A PEFT folder of module (of layer 0) -> (A, B); ranks may differ."""
    place.mkdir()
    tensors, ranks = {}, {}
    for module, (a, b) in factors.items():
        stem = f"base_model.model.model.layers.0.self_attn.{module}"
        tensors[f"{stem}.lora_A.weight"] = np.ascontiguousarray(a, np.float32)
        tensors[f"{stem}.lora_B.weight"] = np.ascontiguousarray(b, np.float32)
        ranks[module] = len(a)
    save_file(tensors, place / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": alpha, "rank_pattern": ranks}
    (place / "adapter_config.json").write_text(json.dumps(config))
    return read_adapter(place)


def noise(seed: int, rank: int, inputs: int = 24, outputs: int = 16) -> tuple[Array, Array]:
    chance = np.random.default_rng(seed)
    return (
        chance.normal(size=(rank, inputs)).astype(np.float32),
        chance.normal(size=(outputs, rank)).astype(np.float32),
    )


def test_norms_cosine_and_overlaps_are_those_of_the_full_matrices(tmp_path: Path) -> None:
    """The full matrices and scipy's principal angles say the same; ranks 4 and 2, weights 1 and -0.5."""
    scipy_linalg = pytest.importorskip("scipy.linalg")
    one, two = noise(1, 4), noise(2, 2)
    first, second = written(tmp_path / "one", {"q_proj": one}, 8), written(tmp_path / "two", {"q_proj": two}, 6)
    full = [8 / 4 * one[1] @ one[0], -0.5 * 6 / 2 * two[1] @ two[0]]
    geometry = compare(first, second, (1.0, -0.5))
    (pair,) = geometry.modules
    norms = [np.linalg.norm(each) for each in full]
    assert pair.norms == pytest.approx(norms, rel=1e-5)
    assert pair.ratio == pytest.approx(norms[1] / norms[0], rel=1e-5)
    cosine = float((full[0] * full[1]).sum() / (norms[0] * norms[1]))
    assert pair.cosine == pytest.approx(cosine, abs=1e-6)
    assert geometry.cosine == pytest.approx(cosine, abs=1e-6)
    for found, side in ((pair.columns, lambda m: m), (pair.rows, lambda m: m.T)):
        angles = scipy_linalg.subspace_angles(scipy_linalg.orth(side(full[0]), 1e-5),
                                              scipy_linalg.orth(side(full[1]), 1e-5))  # fmt: skip
        assert found == pytest.approx(float(np.mean(np.cos(angles) ** 2)), abs=1e-5)


def test_an_adapter_against_itself_and_against_its_opposite(tmp_path: Path) -> None:
    first = written(tmp_path / "one", {"q_proj": noise(1, 4), "v_proj": noise(3, 2)})
    same, opposite = compare(first, first), compare(first, first, (1.0, -2.0))
    assert same.cosine == pytest.approx(1)
    assert opposite.cosine == pytest.approx(-1)
    assert same.overlap == pytest.approx(1)
    assert [pair.ratio for pair in opposite.modules] == pytest.approx([2.0, 2.0])


def test_orthogonal_by_construction(tmp_path: Path) -> None:
    """They read other inputs but write to the same outputs: columns 1, rows 0, cosine 0."""
    a = np.eye(24, dtype=np.float32)
    b = noise(1, 2)[1]
    pair = compare(
        written(tmp_path / "one", {"q_proj": (a[:2], b)}), written(tmp_path / "two", {"q_proj": (a[2:4], b)})
    ).modules[0]
    assert (pair.columns, pair.rows, pair.cosine) == pytest.approx((1, 0, 0), abs=1e-9)


def test_chance_is_what_random_spaces_overlap_by(tmp_path: Path) -> None:
    first = written(tmp_path / "one", {"q_proj": noise(0, 4)})
    found = [
        compare(first, written(tmp_path / f"r{seed}", {"q_proj": noise(seed, 2)})).modules[0]
        for seed in range(1, 200)
    ]
    mean = float(np.mean([pair.overlap for pair in found]))
    assert mean == pytest.approx(found[0].chance, rel=0.05)
    assert found[0].chance == pytest.approx((4 / 24 + 4 / 16) / 2)


def test_zero_padding_and_repeated_directions_span_nothing(tmp_path: Path) -> None:
    """A composite's padding must not look like a space; a rank-4 factor pair of rank 1 spans one direction."""
    a, b = noise(1, 1)
    padded = np.pad(a, ((0, 3), (0, 0))), np.pad(b, ((0, 0), (0, 3)))
    doubled = np.repeat(a, 4, axis=0), np.repeat(b, 4, axis=1)
    other = written(tmp_path / "other", {"q_proj": noise(2, 4)})
    plain = compare(written(tmp_path / "plain", {"q_proj": (a, b)}), other).modules[0]
    for name, factors in (("padded", padded), ("doubled", doubled)):
        pair = compare(written(tmp_path / name, {"q_proj": factors}), other).modules[0]
        assert (pair.columns, pair.rows) == pytest.approx((plain.columns, plain.rows), abs=1e-6)
        assert pair.chance == pytest.approx(plain.chance)


def test_disjoint_targets_have_no_common_module(tmp_path: Path) -> None:
    geometry = compare(
        written(tmp_path / "one", {"q_proj": noise(1, 4)}), written(tmp_path / "two", {"v_proj": noise(2, 4)})
    )
    assert (geometry.modules, geometry.apart, geometry.cosine, geometry.overlap) == ((), 2, 0, 0)


def test_the_shipped_domains_were_trained_beside_the_core() -> None:
    """No module's numbers leave their range, and the domains do not write against the core."""
    core = read_adapter(ADAPTERS / "core")
    for name in ("physics", "sport"):
        geometry = compare(core, read_adapter(ADAPTERS / name), (1.0, 0.8))
        assert len(geometry.modules) == 30 * 4
        for pair in geometry.modules:
            assert -1 <= pair.cosine <= 1
            assert 0 <= pair.columns <= 1
            assert 0 <= pair.rows <= 1
        assert geometry.overlap > geometry.chance
