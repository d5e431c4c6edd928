"""A tiny Llama in numpy, with LoRA, a KV cache and a prefix cache, wrong in the ways that engines are wrong.

Every fault is a switch on how it computes, none on what it answers: what a fault sounds like is physics. They are
those of TGI 3.3.7 (utils/adapter.py, layers/lora.py, the CUDA graphs and the radix cache). Tokens are bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Array = NDArray[np.floating]
WIDTH, LAYERS, HEADS, HEADS_KV, HIDDEN = 48, 3, 4, 2, 96
HEAD = WIDTH // HEADS
KV_WIDTH = HEAD * HEADS_KV
BOS, VOCABULARY = 256, 257
SHAPES = {  # in the order in which TGI prepares them: the first one escapes the wrong scale
    "q_proj": (WIDTH, WIDTH),
    "k_proj": (KV_WIDTH, WIDTH),
    "v_proj": (KV_WIDTH, WIDTH),
    "o_proj": (WIDTH, WIDTH),
    "gate_proj": (HIDDEN, WIDTH),
    "up_proj": (HIDDEN, WIDTH),
    "down_proj": (WIDTH, HIDDEN),
}
"""Module -> (out, in)."""
PRINTABLE = range(0x20, 0x7F)

Updates = Mapping[tuple[int, str], tuple[Array, Array]]
"""(layer, module) -> (A, B), with the scale inside B."""


def block(module: str) -> str:
    return "self_attn" if module in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"


def write_adapter(
    folder: Path,
    seed: int,
    rank: int,
    alpha: float,
    modules: Sequence[str] = tuple(SHAPES),
    strength: float = 0.09,
) -> Path:
    """Write a seeded adapter as PEFT writes it; only the product of `strength` and alpha / rank is heard."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(LAYERS):
        for module in modules:
            stem = f"base_model.model.model.layers.{layer}.{block(module)}.{module}"
            out, into = SHAPES[module]
            tensors[f"{stem}.lora_A.weight"] = rng.normal(0, 1 / into**0.5, (rank, into)).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = rng.normal(0, strength, (out, rank)).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": "some/base",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": list(modules),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def read_pairs(folder: Path) -> tuple[dict[str, object], dict[tuple[int, str], tuple[Array, Array]]]:
    """Return an adapter's config and its raw factors."""
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    tensors = load_file(folder / "adapter_model.safetensors")
    pairs = {}
    for layer in range(LAYERS):
        for module in SHAPES:
            stem = f"base_model.model.model.layers.{layer}.{block(module)}.{module}"
            if f"{stem}.lora_A.weight" in tensors:
                pairs[layer, module] = (tensors[f"{stem}.lora_A.weight"], tensors[f"{stem}.lora_B.weight"])
    return config, pairs


def loaded_by_tgi(folder: Path, shards: int = 1) -> Updates:
    """Load an adapter the way TGI does: with its padding of ranks, and the scale that goes wrong with it.

    `prepare_weights` runs once per module type, scales with alpha / config.r, and then overwrites config.r with
    the padded rank: every later type is scaled by that. A type that one layer lacks is dropped in all.
    """
    config, pairs = read_pairs(folder)
    rank, alpha = config["r"], float(config["lora_alpha"])  # type: ignore[arg-type]
    updates = {}
    for module in SHAPES:
        if any((layer, module) not in pairs for layer in range(LAYERS)):
            continue
        scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank  # type: ignore[arg-type,operator]
        for layer in range(LAYERS):
            a, b = pairs[layer, module]
            updates[layer, module] = (a, b * scale)
        least = 8 * shards
        rank = least if rank <= least else 16 * math.ceil(rank / 16)  # type: ignore[operator]
    return updates


def exact(parts: Sequence[tuple[Path, float]]) -> dict[tuple[int, str], Array]:
    """Return the weighted sum of adapters as dense matrices in float64: what PEFT computes."""
    total: dict[tuple[int, str], Array] = {}
    for folder, weight in parts:
        config, pairs = read_pairs(folder)
        scale = weight * float(config["lora_alpha"]) / float(config["r"])  # type: ignore[arg-type]
        for place, (a, b) in pairs.items():
            update = scale * b.astype(np.float64) @ a.astype(np.float64)
            total[place] = total.get(place, 0) + update
    return total


@dataclass
class State:
    """Keys and values of the tokens so far, layer by layer, and the tokens."""

    tokens: list[int] = field(default_factory=list)
    keys: list[Array] = field(default_factory=lambda: [np.zeros((0, HEADS_KV, HEAD))] * LAYERS)
    values: list[Array] = field(default_factory=lambda: [np.zeros((0, HEADS_KV, HEAD))] * LAYERS)

    def cut(self, length: int) -> State:
        """Return the first `length` tokens' state."""
        return State(self.tokens[:length], [k[:length] for k in self.keys], [v[:length] for v in self.values])


@dataclass
class TinyEngine:
    """A model with adapters (request-side name -> folder), loaded like TGI.

    `cuda_graphs`: decoding replays graphs that were captured without adapters. `prefix_cache`: "" is none,
    "adapter" one per adapter, "tokens" one that is keyed by tokens only. `noise` is the relative rounding error of
    every layer's output, fresh each time, like another batch in bf16 (2**-9). `shards` is TGI's --num-shard.
    """

    adapters: Mapping[str, Path] = field(default_factory=dict)
    cuda_graphs: bool = False
    prefix_cache: str = ""
    noise: float = 0.0
    shards: int = 1
    hits: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        self._base = {
            (layer, module): rng.normal(0, 1.3 / shape[1] ** 0.5, shape)
            for layer in range(LAYERS)
            for module, shape in SHAPES.items()
        }
        self._embedding = rng.normal(0, 1, (VOCABULARY, WIDTH))
        self._head = rng.normal(0, 1.6 / WIDTH**0.5, (VOCABULARY, WIDTH))
        self._head[[token not in PRINTABLE for token in range(VOCABULARY)]] = 0
        self._loaded = {name: loaded_by_tgi(folder, self.shards) for name, folder in self.adapters.items()}
        self._cached: dict[str, list[State]] = {}
        self._rng = np.random.default_rng()

    def generate(
        self, text: str, adapter: str | None, count: int, *, cold: bool = False
    ) -> Iterator[tuple[int, Array]]:
        """Yield (token, log-probabilities) greedily. An unknown adapter is the base, as TGI has it."""
        updates = self._loaded.get(adapter or "", {})
        tokens = [BOS, *text.encode()]
        state = State() if cold or not self.prefix_cache else self._found(adapter, tokens)
        logits = self._forward(tokens[len(state.tokens) :], state, updates)
        if self.prefix_cache and not cold:
            key = "" if self.prefix_cache == "tokens" else str(adapter)
            self._cached.setdefault(key, []).append(state.cut(len(tokens)))
        for _ in range(count):
            logprobs = logits - logits.max()
            logprobs -= np.log(np.exp(logprobs).sum())
            token = int(np.argmax(logprobs))
            yield token, logprobs
            logits = self._forward([token], state, {} if self.cuda_graphs else updates)

    def dense(self, text: str, update: Mapping[tuple[int, str], Array], count: int) -> list[tuple[int, Array]]:
        """Return the same with `update` added to the matrices, and everything computed anew for every token."""
        merged = dict(self._base)
        for place, delta in update.items():
            merged[place] = merged[place] + delta
        tokens, said = [BOS, *text.encode()], []
        for _ in range(count):
            logits = self._forward(tokens, State(), {}, merged)
            logprobs = logits - logits.max()
            logprobs -= np.log(np.exp(logprobs).sum())
            said.append((int(np.argmax(logprobs)), logprobs))
            tokens.append(said[-1][0])
        return said

    def _found(self, adapter: str | None, tokens: list[int]) -> State:
        """Return the longest cached prefix. The last token is always computed: somebody must say what follows."""
        key = "" if self.prefix_cache == "tokens" else str(adapter)
        best, most = State(), 0
        for state in self._cached.get(key, []):
            shared = 0
            for mine, yours in zip(tokens[:-1], state.tokens, strict=False):
                if mine != yours:
                    break
                shared += 1
            if shared > most:
                best, most = state, shared
        self.hits += bool(most)
        return best.cut(most)

    def _forward(
        self,
        tokens: Sequence[int],
        state: State,
        updates: Updates,
        weights: Mapping[tuple[int, str], Array] | None = None,
    ) -> Array:
        """Compute `tokens` after `state`, extend it, and return the logits behind the last one."""
        weights = weights or self._base
        start = len(state.tokens)
        x = self._embedding[list(tokens)]
        positions = np.arange(start, start + len(tokens))

        def times(layer: int, module: str, inputs: Array) -> Array:
            out = inputs @ weights[layer, module].T
            if (layer, module) in updates:
                a, b = updates[layer, module]
                out = out + (inputs @ a.T) @ b.T
            return out

        for layer in range(LAYERS):
            h = _normed(x)
            q = _turned(times(layer, "q_proj", h).reshape(-1, HEADS, HEAD), positions)
            k = _turned(times(layer, "k_proj", h).reshape(-1, HEADS_KV, HEAD), positions)
            v = times(layer, "v_proj", h).reshape(-1, HEADS_KV, HEAD)
            state.keys[layer] = np.concatenate([state.keys[layer], k])
            state.values[layer] = np.concatenate([state.values[layer], v])
            x = x + times(layer, "o_proj", _attention(q, state.keys[layer], state.values[layer], start))
            h = _normed(x)
            gate = times(layer, "gate_proj", h)
            x = x + times(layer, "down_proj", gate / (1 + np.exp(-gate)) * times(layer, "up_proj", h))
            if self.noise:
                x = x * (1 + self.noise * self._rng.standard_normal(x.shape))
        state.tokens = [*state.tokens, *tokens]
        logits: Array = self._head @ _normed(x[-1:])[0]
        return logits


def _normed(x: Array) -> Array:
    out: Array = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
    return out


def _turned(x: Array, positions: Array) -> Array:
    """Rotary position embedding, the two halves of a head as pairs."""
    half = HEAD // 2
    angle = positions[:, None] * 10_000.0 ** (-np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    one, two = x[..., :half], x[..., half:]
    return np.concatenate([one * cos - two * sin, one * sin + two * cos], axis=-1)


def _attention(q: Array, keys: Array, values: Array, start: int) -> Array:
    """Causal attention of the queries, which begin at position `start`, over everything so far."""
    keys, values = (np.repeat(each, HEADS // HEADS_KV, axis=1).swapaxes(0, 1) for each in (keys, values))
    scores = q.swapaxes(0, 1) @ keys.swapaxes(1, 2) / HEAD**0.5
    if len(q) > 1:
        future = np.arange(keys.shape[1])[None, :] > start + np.arange(len(q))[:, None]
        scores[:, future] = -np.inf
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    out: Array = (scores @ values).swapaxes(0, 1).reshape(len(q), -1)
    return out
