"""Read a PEFT folder as plain LoRA factors, or say why it is not plain LoRA. Knows no engine and no blend.

Everything refused here would otherwise be dropped or mis-scaled in silence by a converter or an engine. What can
be written as an added product of two factors is accepted: ranks and alphas per module, and rsLoRA, become one
scale per module.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blends.tensors import Tensor, TensorsUnreadable, list_tensors

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"

# peft's name of a factor, of which "base_model.model." is peft's own wrapping.
_FACTOR = re.compile(
    r"(?:base_model\.model\.)?"
    r"(?P<path>model\.layers\.(?P<layer>\d+)\.(?P<block>self_attn|mlp)\.(?P<module>\w+))"
    r"\.lora_(?P<side>[AB])\.weight"
)
_VOCABULARY = re.compile(r"embed_tokens|lm_head|lora_embedding")

# setting of adapter_config.json -> why an adapter that uses it is refused
_REFUSED = {
    "use_dora": "DoRA rescales the base weights; it is not an added product of two factors",
    "lora_bias": "a trained LoRA bias has no place beside the two factors",
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
_REBASING = ("pissa", "olora", "corda", "loftq", "lora_ga")  # initialisations that also change the base weights
_LARGEST = 1e9  # of lora_alpha; it is a few times the rank
_REPEAT, _REPEATED_GROUP, _MOST_REPEATS = re.compile(r"[*+?{]"), re.compile(r"\)[*+{]"), 4


class AdapterRefused(ValueError):
    """The folder does not hold a plain LoRA that fits; the message says which setting, and why it matters."""


@dataclass(frozen=True, slots=True)
class Factors:
    """One module's update: weight += scale * B @ A, with A (rank, inputs) and B (outputs, rank)."""

    layer: int
    block: str
    module: str
    scale: float
    stored_a: Tensor
    stored_b: Tensor

    @property
    def a(self) -> NDArray[Any]:
        """A, read from the file: (rank, inputs)."""
        return self.stored_a.read()

    @property
    def b(self) -> NDArray[Any]:
        """B, read from the file: (outputs, rank)."""
        return self.stored_b.read()

    @property
    def rank(self) -> int:
        """The number of rows of A."""
        return self.stored_a.shape[0]

    @property
    def widths(self) -> tuple[int, int]:
        """(inputs, outputs)."""
        return self.stored_a.shape[1], self.stored_b.shape[0]

    @property
    def key(self) -> tuple[str, str, int]:
        """(block, module, layer): what of the base model it changes, in the order in which files list it."""
        return self.block, self.module, self.layer


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A plain LoRA. `partial` says that its configuration picks layers, so some of the base's may be missing."""

    name: str
    folder: Path
    base: str | None
    factors: tuple[Factors, ...]
    partial: bool = False

    @property
    def rank(self) -> int:
        """The largest rank of any module."""
        return max(factors.rank for factors in self.factors)


def read_adapter(folder: Path) -> LoraAdapter:
    """Read `adapter_config.json` and the header of `adapter_model.safetensors`; factors are fetched when used.

    Raises AdapterRefused, also for NaN and infinity among the weights.
    """
    config = read_config(folder)
    _check_config(folder, config)
    if not (folder / WEIGHTS).is_file():
        raise AdapterRefused(f"{folder} holds no {WEIGHTS}: a PEFT adapter is that file and its sibling")
    pairs: dict[tuple[int, str, str, str], dict[str, Tensor]] = {}
    try:
        for name, tensor in list_tensors(folder / WEIGHTS):
            match = _FACTOR.fullmatch(name)
            if match is None:
                what = "changes the vocabulary" if _VOCABULARY.search(name) else "is not a LoRA factor"
                raise AdapterRefused(
                    f"{folder}: tensor {name!r} {what}; only factors of attention and MLP modules can be served"
                )
            if not np.isfinite(tensor.read()).all():
                raise AdapterRefused(f"{folder}: tensor {name!r} holds NaN or infinity: the training went wrong")
            where = int(match["layer"]), match["block"], match["module"], match["path"]
            pairs.setdefault(where, {})[match["side"]] = tensor
    except TensorsUnreadable as fault:
        raise AdapterRefused(str(fault)) from fault
    if not pairs:
        raise AdapterRefused(f"{folder}: {WEIGHTS} holds no tensor: it would answer as the bare base model")
    factors = tuple(_pair(folder, config, where, sides) for where, sides in sorted(pairs.items()))
    # A regular expression, too, may leave layers out.
    partial = config.get("layers_to_transform") is not None or isinstance(config.get("target_modules"), str)
    base = config.get("base_model_name_or_path")
    return LoraAdapter(folder.name, folder, str(base) if base else None, factors, partial)


def trained_on(folder: Path) -> str | None:
    """Return the base model that `adapter_config.json` names; None when it names none. Raises AdapterRefused."""
    base = read_config(folder).get("base_model_name_or_path")
    return str(base) if base else None


def read_config(folder: Path) -> dict[str, Any]:
    """Return `adapter_config.json`. Raises AdapterRefused when it is absent or no JSON object."""
    if not (folder / CONFIG).is_file():
        raise AdapterRefused(f"{folder} holds no {CONFIG}: a PEFT adapter is that file and its sibling")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise AdapterRefused(f"{folder / CONFIG} is not JSON: {fault}") from fault
    if not isinstance(config, dict):
        raise AdapterRefused(f"{folder / CONFIG} is not a PEFT configuration: it is no JSON object")
    return config


def _pair(
    folder: Path, config: Mapping[str, Any], where: tuple[int, str, str, str], sides: Mapping[str, Tensor]
) -> Factors:
    """Return the factors of one module, after checking that they belong together and to the configuration."""
    layer, block, module, path = where
    place = f"{folder}: layer {layer}, {module}"
    if sides.keys() != {"A", "B"}:
        raise AdapterRefused(f"{place} has only factor {', '.join(sides)}; both A and B are needed")
    a, b = sides["A"].shape, sides["B"].shape
    rank = _of_module(config.get("rank_pattern"), path, config["r"])
    alpha = _of_module(config.get("alpha_pattern"), path, config["lora_alpha"])
    _check_numbers(place, rank, alpha)
    if len(a) != 2 or len(b) != 2 or a[0] != rank or b[1] != rank:
        raise AdapterRefused(f"{place} has A {a} and B {b}; r is {rank}: (r, in) and (out, r) fit")
    scale = float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Factors(layer, block, module, scale, sides["A"], sides["B"])


def _of_module(pattern: Mapping[str, Any] | None, path: str, otherwise: Any) -> Any:
    """Return the value of the first pattern that names the module, as peft's `get_pattern_key` chooses it."""
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", path):
            return value
    return otherwise


def _check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse everything that is not plain LoRA."""
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
    _check_numbers(str(folder), config.get("r"), config.get("lora_alpha"))
    for key in ("rank_pattern", "alpha_pattern"):
        _check_patterns(f"{folder}: {key}", config.get(key))


def _check_numbers(place: str, rank: Any, alpha: Any) -> None:
    if type(rank) is not int or rank < 1 or type(alpha) not in (int, float):
        raise AdapterRefused(
            f"{place}: r and lora_alpha must be numbers, r at least 1; they are {rank!r:.80} and {alpha!r:.80}"
        )
    if not alpha or not -_LARGEST <= alpha <= _LARGEST:
        raise AdapterRefused(
            f"{place}: lora_alpha is {alpha!r:.80}: it would answer as the bare base model, or noise"
        )


def _check_patterns(place: str, patterns: Any) -> None:
    """Refuse what maps no regular expressions, and one that could be tried for hours on a module's name."""
    if not isinstance(patterns, dict | None):
        raise AdapterRefused(f"{place} is {patterns!r:.80}; it maps modules' names to numbers")
    for key in patterns or ():
        try:
            re.compile(key)
        except (re.error, RecursionError, OverflowError) as fault:
            raise AdapterRefused(f"{place}: {key!r:.80} is no regular expression: {fault}") from fault
        if _REPEATED_GROUP.search(key) or len(_REPEAT.findall(key)) > _MOST_REPEATS:
            raise AdapterRefused(f"{place}: {key!r:.80} repeats too much; name the modules")
