"""Prove a composite on the written file: its update against its members' weighted sum, and its form.

The sum is never multiplied out: both sides are applied to random inputs, which finds any difference of two
matrices with probability 1 (Freivalds, "Probabilistic machines can use less running time", IFIP 1977).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blends.adapter import CONFIG, WEIGHTS, AdapterRefused, Factors, LoraAdapter, read_adapter, read_config
from blends.method import RANKS

PROBES = 4  # random inputs per module


class CompositeBroken(ValueError):
    """A composed folder is not in the form that every engine reads alike; the message says what is off."""


def proved(folder: Path, members: Sequence[tuple[LoraAdapter, float]]) -> float:
    """Return the relative error of the update in `folder` against the weighted sum of `members`.

    Over all modules x: |composite(x) - sum(x)| / |sum(x)| for standard normal x, in float64. float32's rounding is
    about 1e-7; a wrong scale, a lost module or a wrong weight is 0.01 and more.
    Raises CompositeBroken when the folder breaks the form that `compose` promises.
    """
    composite = _read(folder)
    wanted: dict[tuple[str, str, int], list[tuple[Factors, float]]] = {}
    for adapter, weight in members:
        for factors in adapter.factors:
            wanted.setdefault(factors.key, []).append((factors, weight))
    held = {factors.key: factors for factors in composite.factors}
    if lost := sorted(wanted.keys() - held.keys()):
        block, module, layer = lost[0]
        raise CompositeBroken(f"{folder}: layer {layer}, {block}.{module} is missing, and {len(lost) - 1} more")
    chance = np.random.default_rng(0)
    off = whole = 0.0
    for key, factors in held.items():
        inputs, outputs = factors.widths
        x = chance.standard_normal((inputs, PROBES))
        total: NDArray[np.float64] = np.zeros((outputs, PROBES))
        for part, weight in wanted.get(key, ()):
            total += weight * applied(part, x)
        off += float(np.square(applied(factors, x) - total).sum())
        whole += float(np.square(total).sum())
    if whole == 0:
        raise CompositeBroken(f"{folder}: the members' sum is zero; it would answer as the bare base model")
    return float(np.sqrt(off / whole))


def applied(factors: Factors, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scale * B @ (A @ x) in float64; x is (inputs, n)."""
    product: NDArray[np.float64] = factors.scale * (
        factors.b.astype(np.float64) @ (factors.a.astype(np.float64) @ x)
    )
    return product


def _read(folder: Path) -> LoraAdapter:
    """Read a composed folder, check its form: one file, one legal rank, scale 1, every layer of every module."""
    try:
        composite, config = read_adapter(folder), read_config(folder)
    except AdapterRefused as fault:
        raise CompositeBroken(str(fault)) from fault
    files = sorted(file.name for file in folder.glob("*.safetensors"))
    if files != [WEIGHTS]:
        raise CompositeBroken(f"{folder} holds {', '.join(files)}; TGI would merge them, so it must be one file")
    ranks = {factors.rank for factors in composite.factors}
    if len(ranks) != 1 or not ranks <= set(RANKS) or {config["r"], config["lora_alpha"]} != ranks:
        raise CompositeBroken(
            f"{folder / CONFIG}: r {config['r']}, lora_alpha {config['lora_alpha']}, factors of rank "
            f"{sorted(ranks)}; all must be one of {', '.join(map(str, RANKS))}"
        )
    if any(config.get(key) for key in ("use_rslora", "rank_pattern", "alpha_pattern")):
        raise CompositeBroken(f"{folder / CONFIG} uses rsLoRA or patterns, which several engines ignore")
    layers = 1 + max(factors.layer for factors in composite.factors)
    modules = {(factors.block, factors.module) for factors in composite.factors}
    if len(composite.factors) != layers * len(modules):
        raise CompositeBroken(f"{folder}: some layer lacks a module type; TGI would drop that type everywhere")
    return composite
