"""The converted file holds the same update as the PEFT folder, under llama.cpp's names and row order."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader
from numpy.typing import NDArray
from safetensors.numpy import load_file

from blends.adapter import AdapterRefused
from blends.base import BaseUnreadable, locate_base
from blends.gguf import cached, convert
from tests.blends.conftest import ADAPTERS, NAMES


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """(metadata, tensors) as llama.cpp's own Python reader gives them."""
    reader = GGUFReader(path)
    return {key: field.contents() for key, field in reader.fields.items()}, {
        t.name: t.data for t in reader.tensors
    }


def to_transformers_row(row: int, head_width: int) -> int:
    """Where a llama.cpp row of q or k lies in transformers: even rows come from the head's first half."""
    head, inside = divmod(row, head_width)
    return head * head_width + inside // 2 + (inside % 2) * (head_width // 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("module", "theirs"), [("q_proj", "attn_q"), ("k_proj", "attn_k"), ("v_proj", "attn_v")])
def test_update_read_back_equals_the_peft_update(tmp_path: Path, name: str, module: str, theirs: str) -> None:
    out = tmp_path / "x.gguf"
    convert(ADAPTERS / name, locate_base(), out)
    metadata, tensors = read(out)
    a, b = (tensors[f"blk.7.{theirs}.weight.lora_{side}"].astype(np.float64) for side in "ab")
    rank = b.shape[1]  # llama.cpp divides alpha by this
    ours = metadata["adapter.lora.alpha"] / rank * b @ a
    if module != "v_proj":
        order = [to_transformers_row(row, 64) for row in range(b.shape[0])]
        unordered = np.empty_like(ours)
        unordered[order] = ours
        assert not np.allclose(unordered, ours)  # the order matters: a converter that forgot it would fail below
        ours = unordered
    peft = load_file(ADAPTERS / name / "adapter_model.safetensors")
    config = json.loads((ADAPTERS / name / "adapter_config.json").read_text())
    stem = f"base_model.model.model.layers.7.self_attn.{module}.lora_"
    wanted = peft[f"{stem}B.weight"].astype(np.float64) @ peft[f"{stem}A.weight"].astype(np.float64)
    wanted *= config["lora_alpha"] / config["r"]
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-9)


def test_every_factor_arrives_and_the_header_says_lora(tmp_path: Path) -> None:
    convert(ADAPTERS / "core", locate_base(), tmp_path / "x.gguf")
    metadata, tensors = read(tmp_path / "x.gguf")
    assert metadata["general.architecture"] == "llama"
    assert metadata["general.type"] == "adapter"
    assert metadata["adapter.type"] == "lora"
    assert len(tensors) == 30 * 4 * 2  # layers, modules, factors


@pytest.mark.parametrize(("rslora", "alpha"), [(False, 6.0), (True, 6.0 * 2**0.5)])
def test_rslora_scale_is_folded_into_alpha(folder: Path, tmp_path: Path, rslora: bool, alpha: float) -> None:
    """r=2, alpha=6: plain scale 6/2 and rsLoRA scale 6/sqrt(2); llama.cpp computes written alpha / 2."""
    edit(folder, use_rslora=rslora)
    convert(folder, locate_base(), tmp_path / "x.gguf")
    assert read(tmp_path / "x.gguf")[0]["adapter.lora.alpha"] == pytest.approx(alpha)


def test_an_alpha_of_its_own_goes_into_the_factor(folder: Path, tmp_path: Path) -> None:
    """llama.cpp knows one alpha for all modules: v's alpha of 3 instead of 6 halves its B."""
    edit(folder, alpha_pattern={"v_proj": 3})
    convert(folder, locate_base(), tmp_path / "x.gguf")
    metadata, tensors = read(tmp_path / "x.gguf")
    peft = load_file(folder / "adapter_model.safetensors")
    b = peft["base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight"].astype(np.float32)
    assert metadata["adapter.lora.alpha"] == pytest.approx(6.0)
    np.testing.assert_allclose(tensors["blk.0.attn_v.weight.lora_b"], b / 2, rtol=1e-6)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use_dora": True}, "use_dora.*rescales the base"),
        ({"bias": "lora_only"}, "bias.*would be lost"),
        ({"lora_bias": True}, "lora_bias"),
        ({"rank_pattern": {"q_proj": 4}}, r"q_proj has A \(2, 576\).*r is 4"),
        ({"lora_alpha": 0}, "lora_alpha is 0: it would answer as the bare base"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save.*lost"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights.*base weights"),
        ({"peft_type": "IA3"}, "peft_type.*only LORA"),
        ({"r": 3}, r"r is 3: \(r, in\)"),
        ({"r": "8"}, "must be numbers"),
        ({"layer_replication": [[0, 3]]}, "layer_replication"),
        ({"kasa_config": {"beta": 1}}, "kasa_config.*truncates the base"),
    ],
)
def test_what_is_not_plain_lora_is_refused_with_its_reason(
    folder: Path, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    edit(folder, **changes)
    with pytest.raises(AdapterRefused, match=reason):
        convert(folder, locate_base(), tmp_path / "x.gguf")
    assert list(tmp_path.glob("*.gguf")) == []
    assert list(tmp_path.glob("*.part")) == []


def retensor(folder: Path, **tensors: NDArray[Any]) -> None:
    from safetensors.numpy import save_file

    path = folder / "adapter_model.safetensors"
    held = load_file(path)
    stem = "base_model.model.model.layers."
    save_file(held | {stem + key.replace("__", "."): value for key, value in tensors.items()}, path)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"30__self_attn__q_proj__lora_A__weight": np.ones((2, 576), np.float16)}, "only factor A"),
        (
            {
                "30__self_attn__v_proj__lora_A__weight": np.ones((2, 576), np.float16),
                "30__self_attn__v_proj__lora_B__weight": np.ones((192, 2), np.float16),
            },
            "30 layers.*another base",
        ),
        (
            {
                "1__self_attn__v_proj__lora_A__weight": np.ones((2, 2048), np.float16),
                "1__self_attn__v_proj__lora_B__weight": np.ones((192, 2), np.float16),
            },
            "2048 inputs, the base 576",
        ),
        ({"0__self_attn__q_proj__lora_B__bias": np.ones(576, np.float16)}, "not a LoRA factor"),
        ({"0__self_attn__q_proj__lora_A__weight": np.full((2, 576), np.nan, np.float16)}, "NaN"),
    ],
)
def test_factors_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, tensors: dict[str, NDArray[Any]], reason: str
) -> None:
    retensor(folder, **tensors)
    with pytest.raises(AdapterRefused, match=reason):
        convert(folder, locate_base(), tmp_path / "x.gguf")


def test_damaged_or_absent_files_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(AdapterRefused, match="not a whole safetensors file"):
        convert(folder, locate_base(), tmp_path / "x.gguf")
    weights.unlink()
    with pytest.raises(AdapterRefused, match=r"holds no adapter_model\.safetensors"):
        cached(folder, locate_base(), tmp_path / "cache")
    with pytest.raises(BaseUnreadable):
        convert(ADAPTERS / "core", ADAPTERS / "core" / "adapter_config.json", tmp_path / "x.gguf")


def test_cache_is_addressed_by_content(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = cached(folder, locate_base(), cache)
    stamp = first.stat().st_mtime_ns
    assert cached(folder, locate_base(), cache) == first
    assert first.stat().st_mtime_ns == stamp  # not written twice
    edit(folder, lora_alpha=8)
    other = cached(folder, locate_base(), cache)
    assert other != first
    assert first.exists()  # an engine may still have it open
    assert sorted(cache.iterdir()) == sorted([first, other])  # nothing half-written is left


def test_conversion_is_deterministic(tmp_path: Path) -> None:
    for out in ("a.gguf", "b.gguf"):
        convert(ADAPTERS / "core", locate_base(), tmp_path / out)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_service_start_does_not_wait_for_conversion(tmp_path: Path) -> None:
    for name in NAMES:
        cached(ADAPTERS / name, locate_base(), tmp_path)
    before = time.process_time()
    for name in NAMES:
        cached(ADAPTERS / name, locate_base(), tmp_path)
    assert time.process_time() - before < 1.0  # CPU time, so that a busy machine does not fail it
