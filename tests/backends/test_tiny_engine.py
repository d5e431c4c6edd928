"""The tiny engine is a Llama: its cache, its adapters and TGI's scales, against facts computed another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.backends.tiny_engine import SHAPES, TinyEngine, exact, loaded_by_tgi, read_pairs, write_adapter

TEXT = "Why is the sky blue?"


def heard(engine: TinyEngine, adapter: str | None, text: str = TEXT, count: int = 6) -> list[np.ndarray]:
    return [logprobs for _, logprobs in engine.generate(text, adapter, count)]


def test_the_cache_changes_nothing_and_neither_does_adding_the_factors_apart(tmp_path: Path) -> None:
    """Tokens decoded one by one with a KV cache and factors equal a merged model that computes all anew."""
    folder = write_adapter(tmp_path / "a", 1, 8, 16)
    decoded = heard(TinyEngine({"a": folder}), "a")
    merged = [logprobs for _, logprobs in TinyEngine().dense(TEXT, exact([(folder, 1.0)]), 6)]
    assert max(np.abs(one - other).max() for one, other in zip(decoded, merged, strict=True)) < 1e-5
    base = heard(TinyEngine(), None)
    assert np.abs(decoded[0] - base[0]).max() > 0.5  # and the adapter is heard


@pytest.mark.parametrize(
    ("rank", "alpha", "shards", "first", "others"),
    [  # read in TGI's source and executed: the table of the ranks that come out wrong
        (8, 16, 1, 2.0, 2.0),
        (16, 32, 1, 2.0, 2.0),
        (32, 64, 1, 2.0, 2.0),
        (48, 96, 1, 2.0, 2.0),
        (4, 8, 1, 2.0, 1.0),
        (12, 24, 1, 2.0, 1.5),
        (24, 48, 1, 2.0, 1.5),
        (8, 16, 2, 2.0, 1.0),
        (16, 32, 4, 2.0, 1.0),
    ],
)
def test_the_scales_of_tgi(
    tmp_path: Path, rank: int, alpha: float, shards: int, first: float, others: float
) -> None:
    folder = write_adapter(tmp_path / "a", 1, rank, alpha)
    _, pairs = read_pairs(folder)
    updates = loaded_by_tgi(folder, shards)
    scales = {module: updates[0, module][1] / pairs[0, module][1] for module in SHAPES}
    for module, scale in scales.items():
        assert np.allclose(scale, first if module == "q_proj" else others), module


def test_a_module_that_one_layer_lacks_is_dropped_in_all(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = write_adapter(tmp_path / "a", 1, 8, 16, ("q_proj", "v_proj"))
    tensors = load_file(folder / "adapter_model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "layers.1.self_attn.v_proj" not in name}
    save_file(kept, folder / "adapter_model.safetensors")
    assert {module for _, module in loaded_by_tgi(folder)} == {"q_proj"}


def test_an_unknown_adapter_is_the_base() -> None:
    assert np.array_equal(heard(TinyEngine(), "nobody")[0], heard(TinyEngine(), None)[0])


def test_a_prefix_cache_per_adapter_changes_nothing_and_one_by_tokens_mixes(tmp_path: Path) -> None:
    folders = {"a": write_adapter(tmp_path / "a", 1, 8, 16), "b": write_adapter(tmp_path / "b", 2, 8, 16)}
    alone = heard(TinyEngine(folders), "b")
    for prefix_cache, same in (("adapter", True), ("tokens", False)):
        engine = TinyEngine(folders, prefix_cache=prefix_cache)
        heard(engine, "a")
        heard(engine, "b")
        again = heard(engine, "b")
        assert engine.hits
        difference = max(np.abs(one - other).max() for one, other in zip(alone, again, strict=True))
        assert difference < 1e-9 if same else difference > 0.3
        list(engine.generate(TEXT, "b", 6, cold=True))
    engine = TinyEngine(folders, prefix_cache="tokens")
    heard(engine, "a")
    cold = [logprobs for _, logprobs in engine.generate(TEXT, "b", 6, cold=True)]
    assert max(np.abs(one - other).max() for one, other in zip(alone, cold, strict=True)) < 1e-9
