"""A random Llama in float32 and random LoRA adapters for it, as GGUF files; numpy alone computes their exact sum.

Why not the carried base: its 4-bit weights round activations to 8 bits, and that noise (0.2 in a log-probability)
hides what these tests must see. Here equal means equal to about 1e-4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
WIDTH, LAYERS, HEADS, HEADS_KV, HIDDEN, CONTEXT = 64, 4, 4, 2, 128, 8192
KV_WIDTH = WIDTH // HEADS * HEADS_KV
OUT = {"attn_q": WIDTH, "attn_v": KV_WIDTH}
TEMPLATE = "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}\n{% endfor %}a:"


def write_base(path: Path) -> Path:
    """Write a Llama of 4 layers whose tokens are the 256 bytes. Seeded: its answers are noise, always the same."""
    rng = np.random.default_rng(0)

    def normal(rows: int, columns: int) -> Matrix:
        return rng.normal(0, 1.5 / columns**0.5, (rows, columns)).astype(np.float32)

    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL] + [gguf.TokenType.BYTE] * 256
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS_KV)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    embedding = rng.normal(0, 1, (len(tokens), WIDTH)).astype(np.float32)
    output = normal(len(tokens), WIDTH)
    printable = np.zeros(len(tokens), bool)
    printable[3 + 0x20 : 3 + 0x7F] = True
    output[~printable] = 0  # logit 0 always loses: answers are printable ASCII and never end by themselves
    tensors = {"token_embd": embedding, "output": output, "output_norm": np.ones(WIDTH, np.float32)}
    for layer in range(LAYERS):
        tensors |= {
            f"blk.{layer}.attn_norm": np.ones(WIDTH, np.float32),
            f"blk.{layer}.ffn_norm": np.ones(WIDTH, np.float32),
            f"blk.{layer}.attn_q": normal(WIDTH, WIDTH),
            f"blk.{layer}.attn_k": normal(KV_WIDTH, WIDTH),
            f"blk.{layer}.attn_v": normal(KV_WIDTH, WIDTH),
            f"blk.{layer}.attn_output": normal(WIDTH, WIDTH),
            f"blk.{layer}.ffn_gate": normal(HIDDEN, WIDTH),
            f"blk.{layer}.ffn_up": normal(HIDDEN, WIDTH),
            f"blk.{layer}.ffn_down": normal(WIDTH, HIDDEN),
        }
    return _write(writer, {f"{name}.weight": tensor for name, tensor in tensors.items()})


@dataclass(frozen=True)
class Lora:
    """Factors by tensor name: A is (rank, in), B is (out, rank); the update is alpha / rank * B @ A."""

    factors: dict[str, tuple[Matrix, Matrix]]
    alpha: float

    def write(self, path: Path) -> Path:
        """Write it in llama.cpp's adapter format."""
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", self.alpha)
        tensors = {f"{name}.weight.lora_a": a for name, (a, _) in self.factors.items()}
        tensors |= {f"{name}.weight.lora_b": b for name, (_, b) in self.factors.items()}
        return _write(writer, tensors)


def random_lora(seed: int, rank: int, alpha: float, modules: Sequence[str]) -> Lora:
    """Return a seeded adapter, strong enough to change what the model says."""
    rng = np.random.default_rng(seed)
    return Lora(
        {
            f"blk.{layer}.{module}": (
                rng.normal(0, 0.2, (rank, WIDTH)).astype(np.float32),
                rng.normal(0, 0.2, (OUT[module], rank)).astype(np.float32),
            )
            for layer in range(LAYERS)
            for module in modules
        },
        alpha,
    )


def summed(parts: Sequence[tuple[Lora, float]]) -> Lora:
    """Return the one adapter whose update is the weighted sum: factors side by side, weights inside B."""
    names = sorted({name for lora, _ in parts for name in lora.factors})
    factors: dict[str, tuple[Matrix, Matrix]] = {}
    for name in names:
        having = [(*lora.factors[name], lora.alpha, weight) for lora, weight in parts if name in lora.factors]
        a = np.concatenate([a for a, _, _, _ in having])
        b = np.concatenate([weight * alpha / len(a) * b for a, b, alpha, weight in having], axis=1)
        # llama.cpp multiplies with alpha / this tensor's own rank: with alpha 1 the rank undoes it.
        factors[name] = (a, (b * len(a)).astype(np.float32))
    return Lora(factors, 1.0)


def _write(writer: gguf.GGUFWriter, tensors: dict[str, Matrix]) -> Path:
    for name, tensor in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert writer.path is not None
    return Path(writer.path)
