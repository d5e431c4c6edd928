"""Several weighted LoRA adapters -> one LoRA folder whose update is their weighted sum. No base model, no torch.

Per module, with the members' scales s and weights w:

    A = [A1; A2; ...]        B = [w1*s1*B1 | w2*s2*B2 | ...]        so        B @ A = sum of w*s*(Bi @ Ai)

in float32. The result is written the way every engine reads and scales it alike: one rank for all modules out of
{8, 16, 32, 64, 128}, padded with zeros; lora_alpha = r, so that the scale is 1; every layer for every module type
that any member has (TGI drops a type that one layer lacks); no pattern fields, which TGI and SGLang ignore; one
file. A single adapter is rewritten in the same way.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blends.adapter import CONFIG, WEIGHTS, AdapterRefused, Factors, LoraAdapter
from blends.lossy import approximated
from blends.method import EXACT, RANKS, Method
from blends.verify import proved

VERSION = 1
"""Part of what a composite's name is hashed from: raise it whenever `compose` writes other bytes for one input."""

Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Member:
    """One adapter and the number its update is multiplied with."""

    adapter: LoraAdapter
    weight: float


@dataclass(frozen=True, slots=True)
class Composite:
    """What was written: `rank` is needed, `bucket` is what it was padded to; `bytes` and `sha256` of the weights.

    `parameters` counts the numbers in it. `error` is the relative error of its update against the members' exact
    weighted sum, measured on the written file: about 1e-7 for exact ones, float32's rounding.
    """

    rank: int
    bucket: int
    modules: tuple[str, ...]
    layers: int
    parameters: int
    bytes: int
    sha256: str
    error: float


@dataclass(frozen=True, slots=True)
class _Slot:
    """One module of one layer: its widths, and the members that change it, in order."""

    block: str
    module: str
    layer: int
    widths: tuple[int, int]
    parts: tuple[tuple[Factors, float], ...]

    @property
    def rank(self) -> int:
        return sum(factors.rank for factors, _ in self.parts)


def compose(
    members: Sequence[Member], base: str, out: Path, method: Method = EXACT, *, layers: int | None = None
) -> Composite:
    """Write the blend of `members` on the base model called `base` into the new folder `out`.

    `layers` is the number of layers of the base; needed only when a member was trained on some of its layers. A
    lossy `method` is for two members and more; one alone is always exact.
    Raises AdapterRefused, by name and reason, for what has no composite, and FileExistsError when `out` exists.
    """
    members = sorted(members, key=lambda member: member.adapter.name)
    _check(members, base)
    method = method if len(members) > 1 else EXACT  # one adapter is rewritten, there is nothing to merge
    slots = list(_slots(members, layers))
    rank = max(slot.rank for slot in slots) if method.exact else method.rank or 0
    bucket = _bucket(members, rank)
    tensors: dict[str, NDArray[np.float32]] = {}
    for slot in slots:
        stem = f"base_model.model.model.layers.{slot.layer}.{slot.block}.{slot.module}"
        a, b = _stacked(slot) if method.exact else approximated(slot.parts, slot.widths, method)
        tensors[f"{stem}.lora_A.weight"] = _padded(a, bucket, axis=0)
        tensors[f"{stem}.lora_B.weight"] = _padded(b, bucket, axis=1)
    if not any(tensor.any() for name, tensor in tensors.items() if name.endswith("lora_B.weight")):
        raise AdapterRefused(f"{_named(members)}: the update is zero; it would answer as the bare base model")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise AdapterRefused(f"{_named(members)}: weight times scale overflows float32; use smaller weights")
    out.mkdir(parents=True)
    _write(out, tensors, bucket, base)
    parameters = sum(tensor.size for tensor in tensors.values())
    tensors.clear()  # before the file is read back: a large one need not be in memory twice
    return Composite(
        rank=rank,
        bucket=bucket,
        modules=tuple(sorted({slot.module for slot in slots})),
        layers=1 + max(slot.layer for slot in slots),
        parameters=parameters,
        bytes=(out / WEIGHTS).stat().st_size,
        sha256=file_sha256(out / WEIGHTS),
        error=proved(out, [(member.adapter, member.weight) for member in members]),
    )


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(members: Sequence[Member], base: str) -> None:
    if not members:
        raise AdapterRefused("a blend needs at least one adapter; none would be the bare base model")
    names = [member.adapter.name for member in members]
    if len(set(names)) != len(names):
        raise AdapterRefused(f"{_named(members)}: an adapter is named twice; write one weight for it")
    for member in members:
        if not math.isfinite(member.weight) or member.weight == 0:
            raise AdapterRefused(f"{member.adapter.name}: its weight is {member.weight}; it would not be heard")
        if member.adapter.base is not None and member.adapter.base != base:
            raise AdapterRefused(
                f"{member.adapter.name} was trained on {member.adapter.base!r}, the blend is for {base!r}: "
                "different base models have no common update"
            )


def _slots(members: Sequence[Member], layers: int | None) -> Iterator[_Slot]:
    """Yield every layer of every module type that any member has."""
    parts: dict[tuple[str, str, int], list[tuple[Factors, float]]] = {}
    widths: dict[tuple[str, str], tuple[str, tuple[int, int]]] = {}
    for member in members:
        for factors in member.adapter.factors:
            parts.setdefault(factors.key, []).append((factors, member.weight))
            first, wide = widths.setdefault((factors.block, factors.module), (member.adapter.name, factors.widths))
            if wide != factors.widths:
                raise AdapterRefused(
                    f"{member.adapter.name}: layer {factors.layer}, {factors.module} is {factors.widths} "
                    f"(in, out), in {first} it is {wide}: different base models have no common update"
                )
    seen = 1 + max(layer for _, _, layer in parts)
    if layers is None:
        for member in members:
            if member.adapter.partial:
                raise AdapterRefused(
                    f"{member.adapter.name} was trained on some layers only, and engines need all of them; "
                    "say how many layers the base has (--layers N)"
                )
        layers = seen
    if seen > layers:
        raise AdapterRefused(f"{_named(members)}: layer {seen - 1} is changed, but the base has {layers} layers")
    for (block, module), (_, wide) in sorted(widths.items()):
        for layer in range(layers):
            yield _Slot(block, module, layer, wide, tuple(parts.get((block, module, layer), ())))


def _bucket(members: Sequence[Member], rank: int) -> int:
    for bucket in RANKS:
        if rank <= bucket:
            return bucket
    ranks = " + ".join(f"{member.adapter.name} {member.adapter.rank}" for member in members)
    raise AdapterRefused(
        f"{_named(members)}: the ranks add up to {rank} ({ranks}), engines serve {RANKS[-1]} at most; "
        "train with smaller ranks, or ask for a lossy merge such as svd(rank=128)"
    )


def _stacked(slot: _Slot) -> Pair:
    """Return (A, B) of the exact sum; of rank 0 where no member changes the module."""
    inputs, outputs = slot.widths
    a = [np.zeros((0, inputs), np.float32)]
    b = [np.zeros((outputs, 0), np.float32)]
    for factors, weight in slot.parts:
        a.append(factors.a.astype(np.float32))
        b.append((factors.b.astype(np.float64) * (weight * factors.scale)).astype(np.float32))
    return np.concatenate(a, axis=0), np.concatenate(b, axis=1)


def _padded(factor: NDArray[np.float32], bucket: int, *, axis: int) -> NDArray[np.float32]:
    missing = [(0, 0), (0, 0)]
    missing[axis] = (0, bucket - factor.shape[axis])
    return np.pad(factor, missing)


def _write(out: Path, tensors: dict[str, NDArray[Any]], rank: int, base: str) -> None:
    from safetensors.numpy import save_file

    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "target_modules": sorted({name.split(".")[-3] for name in tensors}),
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "modules_to_save": None,
        "layers_to_transform": None,
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }
    (out / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    (out / WEIGHTS).chmod(0o644)  # safetensors makes it private; an engine under another user must read it


def _named(members: Sequence[Member]) -> str:
    return " + ".join(member.adapter.name for member in members)
