"""A base with adapters that are summed while it runs, in torch and peft: what every composite is compared with.

Knows no policy, no engine and no file of ours. Slow (15 tokens a second on a laptop's two cores), and exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blends.language import (
    BaseUnusable,
    Speaker,
    answer_losses,
    asked,
    cast,
    encode,
    load_base,
    require_empty,
    save,
    save_base,
)

__all__ = ["BaseUnusable", "Continuation", "Runtime", "load_base", "merge", "save_base"]

PACK = 8
"""Rows per forward pass: a packed mask grows with the square."""

Weights = Mapping[str, float]
"""Adapter name -> weight; an empty one is the bare base."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """What was said greedily: the tokens' texts and their natural-log probabilities."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]

    @property
    def text(self) -> str:
        """The tokens' texts together."""
        return "".join(self.tokens)


class Runtime:
    """One base and any number of adapters. Not for two threads: which adapters speak is the model's state."""

    def __init__(self, base: Speaker) -> None:
        self._model, self.tokenizer = base
        self._tuned: Any = None
        self._labels: dict[str, str] = {}  # peft keeps adapters as attributes: "keys" or "a.b" cannot be one

    @classmethod
    def load(cls, source: Path | str | None = None, precision: str = "float32") -> Runtime:
        """Load the base: a folder, a hub id, a GGUF file, or None for the carried one."""
        return cls(load_base(source, precision))

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters that were added."""
        return tuple(self._labels)

    def add(self, name: str, folder: Path) -> None:
        """Add the PEFT adapter in `folder`, silent until `speaking` names it. Raises peft's own errors."""
        from peft import PeftModel

        if name in self._labels:
            raise ValueError(f"{name} is loaded already")
        label = f"member{len(self._labels)}"
        if self._tuned is None:
            self._tuned = PeftModel.from_pretrained(self._model, str(folder), adapter_name=label)
        else:
            self._tuned.load_adapter(str(folder), adapter_name=label)
        self._labels[name] = label

    @contextmanager
    def speaking(self, weights: Weights) -> Iterator[Any]:
        """Within it, the yielded transformers model is base + the weighted sum of these adapters."""
        import torch

        strange = sorted(set(weights) - set(self._labels))
        if strange:
            raise ValueError(
                f"no adapter {', '.join(strange)} here; there are {', '.join(self._labels) or 'none'}"
            )
        with torch.inference_mode():
            if not weights:
                if self._tuned is not None:
                    self._tuned.base_model.disable_adapter_layers()
                try:
                    yield self._model
                finally:
                    if self._tuned is not None:
                        self._tuned.base_model.enable_adapter_layers()
                return
            self._activate(weights)
            yield self._model

    def _activate(self, weights: Weights) -> None:
        self._tuned.base_model.set_adapter([self._labels[name] for name in weights], inference_mode=True)
        for module in self._tuned.modules():
            if hasattr(module, "set_scale"):
                for name, weight in weights.items():
                    module.set_scale(self._labels[name], weight)

    def losses(self, texts: Sequence[tuple[str, str]], weights: Weights) -> NDArray[np.float64]:
        """Mean cross entropy (nats a token) of each (prompt, answer)'s answer: (texts,)."""
        examples = [encode(self.tokenizer, "", prompt, answer) for prompt, answer in texts]
        means: list[float] = []
        with self.speaking(weights) as model:
            for start in range(0, len(examples), PACK):
                batch = examples[start : start + PACK]
                sizes = [len(example.ids) - example.answer_at for example in batch]
                means += [float(each.mean()) for each in answer_losses(model, batch).split(sizes)]
        return np.array(means)

    def continued(self, prompt: str, weights: Weights, tokens: int) -> Continuation:
        """Continue a raw text greedily by at most `tokens`; the end-of-text token is not part of it."""
        import torch

        said: list[int] = []
        logprobs: list[float] = []
        with self.speaking(weights) as model:
            ids, past = torch.tensor([self.tokenizer(prompt)["input_ids"]]), None
            for _ in range(tokens):
                out = model(input_ids=ids, past_key_values=past, use_cache=True)
                line = torch.log_softmax(out.logits[0, -1].float(), -1)
                best = int(line.argmax())
                if best == self.tokenizer.eos_token_id:
                    break
                said.append(best)
                logprobs.append(float(line[best]))
                ids, past = torch.tensor([[best]]), out.past_key_values
        return Continuation(tuple(map(self._text, said)), tuple(logprobs))

    def answers(self, prompts: Sequence[str], weights: Weights, tokens: int = 60) -> list[str]:
        """Answer each prompt in the base's chat template, greedily, with at most `tokens`."""
        import torch

        pad = self.tokenizer.eos_token_id
        lines = [
            self.tokenizer(asked(self.tokenizer, each), add_special_tokens=False)["input_ids"] for each in prompts
        ]
        said: list[str] = []
        with self.speaking(weights) as model:
            for start in range(0, len(lines), PACK):
                batch = lines[start : start + PACK]
                longest = max(map(len, batch))  # padded on the left: the answers start in one column
                ids = torch.tensor([[pad] * (longest - len(line)) + line for line in batch])
                mask = torch.tensor([[0] * (longest - len(line)) + [1] * len(line) for line in batch])
                out = model.generate(
                    input_ids=ids, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=tokens,
                    pad_token_id=pad, eos_token_id=pad,
                )  # fmt: skip
                said += self.tokenizer.batch_decode(out[:, longest:], skip_special_tokens=True)
        return [text.strip() for text in said]

    def merge_and_unload(self, weights: Weights) -> Any:
        """Write the weighted sum into the base's weights; return the model. No adapter is left afterwards."""
        if not weights:
            raise ValueError("a merge needs at least one adapter; without one it is the bare base")
        with self.speaking(weights):
            pass
        merged = self._tuned.merge_and_unload()
        self._tuned, self._labels = None, {}
        return merged

    def _text(self, token: int) -> str:
        """The token's own text; decoding one sentencepiece token alone would lose the space before its word."""
        text = str(self.tokenizer.decode([token]))
        piece = str(self.tokenizer.convert_ids_to_tokens(token))
        return f" {text}" if piece.startswith("\N{LOWER ONE EIGHTH BLOCK}") and not text.startswith(" ") else text


def merge(
    members: Sequence[tuple[str, Path, float]], base: Path | str | None, out: Path, precision: str = "bfloat16"
) -> Path:
    """Write base + the weighted sum of (name, folder, weight) `members` as one full model folder with tokenizer.

    Summed in float32, then written in `precision`. Raises FileExistsError when `out` holds something already.
    """
    require_empty(out)
    runtime = Runtime.load(base)
    for name, folder, _ in members:
        runtime.add(name, folder)
    model = runtime.merge_and_unload({name: weight for name, _, weight in members})
    cast(model, precision)
    save(model, runtime.tokenizer, out)
    return out
