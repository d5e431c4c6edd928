"""A base model and its tokenizer: load, save, and measure answers. Knows torch and transformers, no peft.

A base is a transformers folder, a hub id, or a GGUF file (which is dequantised); None is the one that is carried.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from blends.base import locate_base

THREADS = 2
PACKABLE = ("llama", "qwen2", "qwen3")
"""Model types whose layers take a mask as it is; the others get one padded row per text."""

Speaker = tuple[Any, Any]
"""A transformers model and its tokenizer."""


class BaseUnusable(ValueError):
    """The base cannot be loaded or has no chat template; the message says what would be right."""


def load_base(source: Path | str | None, precision: str) -> Speaker:
    """Load the base, frozen, in `precision` ("float32" or "bfloat16"); the carried GGUF takes about 20 s.

    Raises BaseMissing when the carried one is not installed, BaseUnusable otherwise.
    """
    # A waiting OpenMP thread that spins starves the others on shared cores. Read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # who calls says what is going on, once
    # peft 0.21 asks transformers 5.23 by an older name; nobody who reads the warning can do anything about it.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
    torch.set_num_threads(THREADS)
    source = locate_base() if source is None else source
    extra: dict[str, Any] = {}
    place = str(source)
    if place.endswith(".gguf"):
        place, extra = str(Path(source).parent), {"gguf_file": Path(source).name}
    how = {"quantization_config": GgufConfig(dequantize=True)} if extra else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **how, **extra)
        tokenizer = AutoTokenizer.from_pretrained(place, **extra)
    except (OSError, ValueError) as fault:
        raise BaseUnusable(
            f"{source} is no base that transformers can load ({fault}); expected a folder with config.json, "
            "weights and tokenizer, a GGUF file, or a hub id"
        ) from fault
    if not tokenizer.chat_template:
        raise BaseUnusable(f"{source} has no chat template: its tokenizer cannot tell a question from an answer")
    # transformers still calls the dequantised model quantised; peft would then look for quantised layers, and
    # saving is refused.
    for holder in (model, model.base_model):
        if hasattr(holder, "hf_quantizer"):
            del holder.hf_quantizer
    model.config.__dict__.pop("quantization_config", None)
    model.is_quantized = False
    cast(model, precision)
    model.requires_grad_(False)
    return model.eval(), tokenizer


def cast(model: Any, precision: str) -> None:
    """Turn the weights, and what the configuration says of them, into `precision`."""
    import torch

    kind = getattr(torch, precision)
    model.to(kind)
    model.config.dtype = kind


def save_base(out: Path, source: Path | str | None = None, precision: str = "bfloat16") -> Path:
    """Write the base as a transformers folder (269 MB in bfloat16 for the carried one), as vLLM and TGI read it.

    Raises FileExistsError when `out` holds something already.
    """
    require_empty(out)
    model, tokenizer = load_base(source, precision)
    save(model, tokenizer, out)
    return out


def save(model: Any, tokenizer: Any, out: Path) -> None:
    """Write tokenizer and model as `from_pretrained` reads them."""
    tokenizer.save_pretrained(str(out))
    model.save_pretrained(str(out))
    for file in out.glob("*.safetensors"):
        file.chmod(0o644)  # safetensors makes it private; an engine under another user must read it


def require_empty(out: Path) -> None:
    """Raise FileExistsError when `out` is a file or holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} is not empty; name a new folder, nothing is overwritten")


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of question and answer; the answer, the part that is learned, starts at `answer_at`."""

    ids: list[int]
    answer_at: int


def encode(tokenizer: Any, system: str, prompt: str, answer: str) -> Example:
    """Write one exchange in the base's chat template; the answer ends on the end-of-turn token."""
    head = tokenizer(asked(tokenizer, prompt, system), add_special_tokens=False)["input_ids"]
    tail = tokenizer(f"{answer}{tokenizer.eos_token}", add_special_tokens=False)["input_ids"]
    return Example(head + tail, len(head))


def asked(tokenizer: Any, prompt: str, system: str = "") -> str:
    """The prompt in the base's chat template, up to where the answer begins."""
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": prompt})
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def answer_losses(model: Any, batch: Sequence[Example]) -> Any:
    """Cross entropies of the answers' tokens, one after the other in the batch's order: a tensor (tokens,).

    `model` is the transformers model, with or without adapters inside.
    """
    return (_packed if model.config.model_type in PACKABLE else _padded)(model, batch)


def _packed(model: Any, batch: Sequence[Example]) -> Any:
    """All rows in one sequence (1, tokens).

    Half of every row is the same system message. The shared prefix stands once, then comes every row's rest, with
    an attention mask that hides the rows from each other. On two cores this takes 1.4 s a step instead of 2.5 s.
    Logits (49152 wide) are computed where answers are only.
    """
    import torch

    columns = zip(*(example.ids[: example.answer_at - 1] for example in batch), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    ids, places, owners = list(batch[0].ids[:shared]), list(range(shared)), [0] * shared
    before: list[int] = []
    answers: list[int] = []
    for owner, example in enumerate(batch, 1):
        rest = example.ids[shared:]
        start = len(ids) - shared  # what to add to a position in the row to find it in the packed sequence
        before += range(start + example.answer_at - 1, start + len(example.ids) - 1)
        answers += example.ids[example.answer_at :]
        ids += rest
        places += range(shared, shared + len(rest))
        owners += [owner] * len(rest)
    owner_of = torch.tensor(owners)
    seen = (owner_of[None, :] == 0) | (owner_of[None, :] == owner_of[:, None])
    seen &= torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    mask = torch.zeros(seen.shape, dtype=model.dtype).masked_fill(~seen, torch.finfo(model.dtype).min)
    hidden = model.model(
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([places]),
        attention_mask=mask[None, None],
        use_cache=False,
    ).last_hidden_state[0]
    logits = model.lm_head(hidden[torch.tensor(before)])
    return torch.nn.functional.cross_entropy(logits.float(), torch.tensor(answers), reduction="none")


def _padded(model: Any, batch: Sequence[Example]) -> Any:
    """One row per text, (rows, longest), padded on the right, where a causal model's answers cannot see it."""
    import torch

    longest = max(len(example.ids) for example in batch)
    ids = torch.tensor([example.ids + [example.ids[0]] * (longest - len(example.ids)) for example in batch])
    mask = torch.tensor([[1] * len(example.ids) + [0] * (longest - len(example.ids)) for example in batch])
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    losses = [
        torch.nn.functional.cross_entropy(
            logits[row, example.answer_at - 1 : len(example.ids) - 1].float(),
            torch.tensor(example.ids[example.answer_at :]),
            reduction="none",
        )
        for row, example in enumerate(batch)
    ]
    return torch.cat(losses)
