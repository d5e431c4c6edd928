"""Read a PEFT folder as plain LoRA factors, or say why it is not plain LoRA. Knows safetensors; knows no engine.

Everything refused here would otherwise be dropped or mis-scaled in silence by a converter or an engine.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"

# peft's name of a factor, of which "base_model.model." is peft's own wrapping.
_FACTOR = re.compile(
    r"(?:base_model\.model\.)?model\.layers\.(?P<layer>\d+)\.(?:self_attn|mlp)\.(?P<module>\w+)\.lora_(?P<side>[AB])\.weight"
)
_DTYPES: dict[str, Any] = {"F64": np.float64, "F32": np.float32, "F16": np.float16}

# setting of adapter_config.json -> why an adapter that uses it is refused
_REFUSED = {
    "use_dora": "DoRA rescales the base weights; it is not an added product of two factors",
    "lora_bias": "a trained LoRA bias has no place beside the two factors",
    "rank_pattern": "ranks that differ per module are ignored by several engines, which then scale wrongly",
    "alpha_pattern": "alphas that differ per module are ignored by several engines, which then scale wrongly",
    "modules_to_save": "whole trained modules would be lost, and the adapter would speak differently",
    "layer_replication": "repeated layers are a different base model",
    "target_parameters": "factors on bare parameters have no name in an engine",
    "trainable_token_indices": "trained token embeddings would be lost",
    "alora_invocation_tokens": "an activated LoRA speaks only after its own tokens; engines apply it everywhere",
    "use_qalora": "QALoRA pools its input; it is not an added product of two factors",
    "use_bdlora": "block-diagonal factors are stored smaller than they act",
    "kasa_config": "KaSA truncates the base weights and puts a diagonal between the factors",
    "monteclora_config": "MonteCLoRA samples its factors anew in each pass",
    "arrow_config": "Arrow routes each token to another adapter",
    "fan_in_fan_out": "the factors are stored transposed",
}
_REBASING = ("pissa", "olora", "corda", "loftq")  # initialisations that also change the base weights


class AdapterRefused(ValueError):
    """The folder does not hold a plain LoRA that fits; the message says which setting, and why it matters."""


@dataclass(frozen=True, slots=True)
class Factors:
    """One module's update: weight += scale * B @ A, with A (rank, inputs) and B (outputs, rank)."""

    layer: int
    module: str
    a: NDArray[Any]
    b: NDArray[Any]


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A plain LoRA: every module has the same rank and the same scale."""

    name: str
    base: str
    rank: int
    scale: float
    factors: tuple[Factors, ...]


def read_adapter(folder: Path) -> LoraAdapter:
    """Read `adapter_config.json` and `adapter_model.safetensors`.

    Factors keep fp16, fp32 and fp64; bf16, which numpy does not have, becomes fp32. Raises AdapterRefused.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise AdapterRefused(f"{folder} holds no {name}: a PEFT adapter is that file and its sibling")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except json.JSONDecodeError as fault:
        raise AdapterRefused(f"{folder / CONFIG} is not JSON: {fault}") from fault
    rank = _check_config(folder, config)
    pairs: dict[tuple[int, str], dict[str, NDArray[Any]]] = {}
    for name, tensor in _read_tensors(folder / WEIGHTS).items():
        match = _FACTOR.fullmatch(name)
        if match is None:
            raise AdapterRefused(f"{folder}: tensor {name!r} is not a LoRA factor of an attention or MLP module")
        pairs.setdefault((int(match["layer"]), match["module"]), {})[match["side"]] = tensor
    if not pairs:
        raise AdapterRefused(f"{folder}: {WEIGHTS} holds no tensor: it would answer as the bare base model")
    factors = []
    for (layer, module), sides in sorted(pairs.items()):
        where = f"{folder}: layer {layer}, {module}"
        if sides.keys() != {"A", "B"}:
            raise AdapterRefused(f"{where} has only factor {', '.join(sides)}; both A and B are needed")
        a, b = sides["A"], sides["B"]
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
            raise AdapterRefused(f"{where} has A {a.shape} and B {b.shape}; r is {rank}: (r, in) and (out, r) fit")
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise AdapterRefused(f"{where} holds NaN or infinity: the training went wrong")
        factors.append(Factors(layer, module, a, b))
    alpha = float(config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return LoraAdapter(folder.name, str(config.get("base_model_name_or_path")), rank, scale, tuple(factors))


def trained_on(folder: Path) -> str | None:
    """Return the base model that `adapter_config.json` names; None when it names none. Raises AdapterRefused."""
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        base = config.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as fault:
        raise AdapterRefused(f"{folder / CONFIG} is not a PEFT configuration: {fault}") from fault
    return str(base) if base else None


def _check_config(folder: Path, config: dict[str, Any]) -> int:
    """Refuse everything that is not plain LoRA; return the rank."""
    if config.get("peft_type") != "LORA":
        raise AdapterRefused(f"{folder}: peft_type is {config.get('peft_type')!r}; only LORA can be served")
    for key, reason in _REFUSED.items():
        if config.get(key):
            raise AdapterRefused(f"{folder}: {key} is set ({config[key]!r}): {reason}")
    if config.get("bias", "none") != "none":
        raise AdapterRefused(f"{folder}: bias is {config['bias']!r}: trained biases would be lost")
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_REBASING):
        raise AdapterRefused(f"{folder}: init_lora_weights is {start!r}: it changes the base weights as well")
    rank = config.get("r")
    if not isinstance(rank, int) or rank < 1 or not isinstance(config.get("lora_alpha"), int | float):
        raise AdapterRefused(f"{folder}: r and lora_alpha must be numbers, r at least 1; they are {rank!r} and "
                             f"{config.get('lora_alpha')!r}")  # fmt: skip
    return rank


def _read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]  # untyped upstream
    except SafetensorError as fault:
        raise AdapterRefused(f"{path} is not a whole safetensors file: {fault}") from fault
    tensors: dict[str, NDArray[Any]] = {}
    for name, entry in entries:
        kind, data = entry["dtype"], entry["data"]
        if kind == "BF16":  # the upper half of a float32
            flat: NDArray[Any] = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif kind in _DTYPES:
            flat = np.frombuffer(data, _DTYPES[kind])
        else:
            raise AdapterRefused(f"{path}: tensor {name!r} is {kind}; F16, BF16, F32 and F64 are understood")
        tensors[name] = flat.reshape(entry["shape"])
    return tensors
