"""Small random LoRA folders, as a training run leaves them, and the folders of a build."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from blends.spec import Spec

BASE = "some/base"
SHAPES = {"self_attn.q_proj": (64, 64), "self_attn.v_proj": (64, 32)}


def write_adapter(
    folder: Path,
    rank: int = 4,
    seed: int = 0,
    layers: int = 2,
    base: str = BASE,
    shapes: dict[str, tuple[int, int]] = SHAPES,
    **settings: object,
) -> Path:
    """Write a random adapter with alpha twice its rank; `settings` go into its configuration."""
    chance = np.random.default_rng(seed)
    tensors = {}
    for layer in range(layers):
        for module, (inputs, outputs) in shapes.items():
            stem = f"base_model.model.model.layers.{layer}.{module}"
            tensors[f"{stem}.lora_A.weight"] = chance.standard_normal((rank, inputs)).astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = chance.standard_normal((outputs, rank)).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "base_model_name_or_path": base} | settings
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def spec(*members: tuple[str, float], **settings: object) -> Spec:
    """Return the spec of a blend of adapters that lie beside each other under their names."""
    name = "+".join(name for name, _ in members)
    parts = tuple((name, weight, f"./{name}") for name, weight in members)
    return Spec(f"{name}-policyid", parts, BASE, **settings)  # type: ignore[arg-type] # whatever a test sets


def built_folders(out: Path) -> set[str]:
    """Return the names of everything in `out` but the manifest and the lock."""
    return {item.name for item in out.iterdir()} - {"blends.json", ".build.lock"}
