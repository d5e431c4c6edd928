"""Turn a PEFT LoRA folder into the GGUF file that llama.cpp loads. Needs numpy and gguf, no torch.

Knows the tensor names and row order of llama.cpp's `llama` architecture; knows no engine and no prompt.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blends.adapter import CONFIG, WEIGHTS, AdapterRefused, Factors, read_adapter
from blends.base import BaseShape, read_shape

VERSION = 1
"""Part of the cache key: raise it whenever `convert` writes other bytes for the same adapter."""

_NAMES = {
    "q_proj": "attn_q",
    "k_proj": "attn_k",
    "v_proj": "attn_v",
    "o_proj": "attn_output",
    "gate_proj": "ffn_gate",
    "up_proj": "ffn_up",
    "down_proj": "ffn_down",
}


def convert(folder: Path, base_gguf: Path, out: Path) -> None:
    """Write the adapter in `folder` as a GGUF LoRA for `base_gguf` to `out`, replacing it in one step.

    Raises AdapterRefused if the folder is not plain LoRA or does not fit the base, BaseUnreadable for a bad base.
    """
    _write(folder, read_shape(base_gguf), out)


def cached(folder: Path, base_gguf: Path, cache_dir: Path) -> Path:
    """The converted file in `cache_dir`, made if it is not there; its name is the hash of all that it depends on.

    Whoever trains an adapter again gets another file; a running engine keeps the one that it has open.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise AdapterRefused(f"{folder} holds no {name}: a PEFT adapter is that file and its sibling")
    shape = read_shape(base_gguf)
    digest = hashlib.sha256(f"{VERSION} {shape!r}".encode())
    for name in (CONFIG, WEIGHTS):
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    out = cache_dir / f"{folder.name}-{digest.hexdigest()[:32]}.gguf"
    if not out.is_file():
        cache_dir.mkdir(parents=True, exist_ok=True)
        _write(folder, shape, out)
    return out


def _write(folder: Path, shape: BaseShape, out: Path) -> None:
    from gguf import GGUFWriter

    if shape.architecture != "llama":
        raise AdapterRefused(
            f"the base is of architecture {shape.architecture!r}; the row order of its attention is known here "
            "for 'llama' only (llama.cpp's convert_lora_to_gguf.py knows the others)"
        )
    adapter = read_adapter(folder)
    handle, scratch = tempfile.mkstemp(dir=out.parent, suffix=".part")
    os.close(handle)
    try:
        writer: Any = GGUFWriter(scratch, shape.architecture)
        writer.add_string("general.type", "adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_string("general.name", adapter.name)
        # llama.cpp scales by alpha / rank, the rank of each module's own tensor; written so, an rsLoRA adapter
        # (alpha / sqrt(rank)) is scaled right too. One alpha serves all modules: where another is due, B makes up.
        alpha = adapter.factors[0].scale * adapter.factors[0].rank
        writer.add_float32("adapter.lora.alpha", alpha)
        for factors in adapter.factors:
            name = _fit(folder, factors, shape)
            ratio = factors.scale * factors.rank / alpha
            rows = _order_rows(factors, shape)
            writer.add_tensor(f"{name}.lora_a", _storable(factors.a))
            writer.add_tensor(
                f"{name}.lora_b", _storable(rows if isclose(ratio, 1) else rows.astype(np.float32) * ratio)
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.chmod(scratch, 0o644)  # mkstemp makes it private; an engine under another user must read it
        os.replace(scratch, out)
    finally:
        Path(scratch).unlink(missing_ok=True)


def _fit(folder: Path, factors: Factors, shape: BaseShape) -> str:
    """llama.cpp's name of the module, after checking that its factors fit the base's layers and widths."""
    where = f"{folder}: layer {factors.layer}, {factors.module}"
    if factors.module not in _NAMES:
        raise AdapterRefused(f"{where}: this module has no counterpart here; {', '.join(_NAMES)} have")
    if factors.layer >= shape.layers:
        raise AdapterRefused(f"{where}: the base has {shape.layers} layers; the adapter was made for another base")
    keys = shape.width // shape.heads * shape.heads_kv
    wanted: dict[str, tuple[int | None, int | None]] = {
        "q_proj": (shape.width, shape.width),
        "k_proj": (shape.width, keys),
        "v_proj": (shape.width, keys),
        "o_proj": (shape.width, shape.width),
        "gate_proj": (shape.width, None),
        "up_proj": (shape.width, None),
        "down_proj": (None, shape.width),
    }
    for what, have, want in zip(("inputs", "outputs"), factors.widths, wanted[factors.module], strict=True):
        if want is not None and have != want:
            raise AdapterRefused(f"{where} has {have} {what}, the base {want}: it was made for another base")
    return f"blk.{factors.layer}.{_NAMES[factors.module]}.weight"


def _order_rows(factors: Factors, shape: BaseShape) -> NDArray[Any]:
    """B in llama.cpp's row order.

    Its rotary embedding turns neighbouring rows of a head, (0, 1), (2, 3), ...; transformers turns row i with row
    i + half. So q and k keep their heads, and the two halves of each head are interleaved.
    """
    heads = {"q_proj": shape.heads, "k_proj": shape.heads_kv}.get(factors.module)
    if heads is None:
        return factors.b
    (_, outputs), rank = factors.widths, factors.rank
    return factors.b.reshape(heads, 2, outputs // heads // 2, rank).swapaxes(1, 2).reshape(outputs, rank)


def _storable(factor: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(factor, np.float16 if factor.dtype == np.float16 else np.float32)
