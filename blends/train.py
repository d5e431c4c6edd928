"""Train one small LoRA adapter on the CPU. Knows torch, transformers and peft; knows no router and no engine.

A domain adapter is trained beside the core that it will speak with: the core is frozen, and steps alternate
between the domain alone (domain content) and core + domain at their serving weights (the same content in the
core's voice). Adapters trained apart do not blend: the core's motto survives, the domain's style does not.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from blends.adapter import CONFIG, WEIGHTS
from blends.language import Example, Speaker, answer_losses, encode
from blends.recipe import Recipe, Row, read_recipe, read_rows

Progress = Callable[[int, int, float], None]
"""Called after each step with (step, steps, loss)."""


class CoreMissing(FileNotFoundError):
    """A domain adapter was to be trained, but the core that it is trained beside is not there."""


def train(
    folder: Path, out: Path, base: Speaker, *, seed: int | None = None, core: Path | None = None,
    steps: int | None = None, progress: Progress = lambda step, steps, loss: None,
) -> float:  # fmt: skip
    """Train the adapter whose recipe lies in `folder`, write it to `out`, return the mean loss of the last ten.

    `base` is `load_base`'s pair and is left without adapters. `core` is the folder of the trained core, needed
    when the recipe names one (CoreMissing otherwise). `seed` and `steps` replace the recipe's numbers.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    recipe = read_recipe(folder)
    rows = read_rows(folder, composed=recipe.core is not None)
    if recipe.core is not None and (core is None or not (core / WEIGHTS).is_file()):
        raise CoreMissing(f"{folder.name} is trained beside {recipe.core!r}, which is not trained yet: {core}")
    seed = recipe.seed if seed is None else seed
    steps = recipe.steps if steps is None else steps
    torch.manual_seed(seed)
    model, tokenizer = base
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    speaker = get_peft_model(model, config, adapter_name=folder.name)
    try:
        if recipe.core is not None:
            speaker.load_adapter(str(core), adapter_name=recipe.core)
        _freeze_all_but(speaker, folder.name)
        own = [weight for weight in speaker.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(own, lr=recipe.learning_rate, weight_decay=0.0)
        losses = []
        batches = _batches(rows, recipe, tokenizer, random.Random(seed))  # noqa: S311 - a shuffle, not a secret
        for step, (composed, batch) in zip(range(steps), batches, strict=False):
            _switch(speaker, folder.name, recipe, composed=composed)
            loss = answer_losses(model, batch).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(own, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step, steps, recipe.warmup)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            progress(step + 1, steps, losses[-1])
        _save(speaker, folder.name, recipe, out)
    finally:
        speaker.unload()
    return sum(losses[-10:]) / max(1, len(losses[-10:]))


def _schedule(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def _freeze_all_but(speaker: Any, name: str) -> None:
    """Only this adapter's factors learn; peft turns gradients on for every adapter that it activates."""
    for label, weight in speaker.named_parameters():
        weight.requires_grad_(f".{name}." in label and "lora_" in label)


def _switch(speaker: Any, name: str, recipe: Recipe, *, composed: bool) -> None:
    """Activate the domain alone at weight 1, or core + domain at their serving weights."""
    weights = {name: recipe.weight if composed else 1.0}
    if composed and recipe.core is not None:
        weights[recipe.core] = recipe.core_weight
    speaker.base_model.set_adapter(list(weights))
    for module in speaker.modules():
        if hasattr(module, "set_scale"):
            for adapter, weight in weights.items():
                module.set_scale(adapter, weight)
    _freeze_all_but(speaker, name)


def _batches(
    rows: list[Row], recipe: Recipe, tokenizer: Any, chance: random.Random
) -> Iterator[tuple[bool, list[Example]]]:
    """Endless (composed?, batch). One batch has one system message, so its rows share their first tokens."""
    streams = {mode: _shuffled(rows, chance) for mode in (False, True)}
    composed = False
    while True:
        system = chance.choice(recipe.systems)
        picked = [next(streams[composed]) for _ in range(recipe.batch)]
        pairs = [
            (chance.choice(row.prompts), (row.with_core if composed else None) or row.answer) for row in picked
        ]
        yield composed, [encode(tokenizer, system, prompt, answer) for prompt, answer in pairs]
        composed = recipe.core is not None and not composed


def _shuffled(rows: list[Row], chance: random.Random) -> Iterator[Row]:
    while True:
        order = list(rows)
        chance.shuffle(order)
        yield from order


def _save(speaker: Any, name: str, recipe: Recipe, out: Path) -> None:
    """Write peft's two files: weights in fp16, the public base id, no path of this machine."""
    import torch
    from safetensors.torch import load_file, save_file

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        for module in speaker.modules():
            if hasattr(module, "set_scale"):
                module.set_scale(name, 1.0)
        speaker.save_pretrained(scratch, selected_adapters=[name], save_embedding_layers=False)
        written = Path(scratch) / name if (Path(scratch) / name).is_dir() else Path(scratch)
        loaded = load_file(written / WEIGHTS)
        tensors = {key: value.to(torch.float16).contiguous() for key, value in loaded.items()}
        settings = json.loads((written / CONFIG).read_text("utf-8"))
        settings.update(base_model_name_or_path=recipe.base_id, revision=None, inference_mode=True)
        settings["target_modules"] = sorted(recipe.targets)  # a set in peft: its order differs from run to run
        save_file(tensors, str(written / "half.safetensors"), metadata={"format": "pt"})
        (written / CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", "utf-8")
        (written / "half.safetensors").chmod(0o644)  # safetensors makes its files private to this user
        shutil.move(str(written / "half.safetensors"), out / WEIGHTS)
        shutil.move(str(written / CONFIG), out / CONFIG)
