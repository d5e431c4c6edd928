"""What each blend says when PEFT computes it: the figures that a live engine's scale is held against.

`reference.json` lies beside `blends.json`:

    {"version": 1, "computed_by": "peft 0.21.2, float32",
     "base":   [{"prompt": "...", "tokens": [" the", ...], "logprobs": [-0.71, ...]}],
     "blends": {"core-0123456789ab": [{"prompt": ..., "tokens": ..., "logprobs": ...}]}}

The names are the manifest's `served` names, which change with an adapter's content: figures of an adapter that was
retrained since are nobody's, instead of wrong. Each line is the greedy continuation of a raw text without a chat
template, token by token, with natural-log probabilities. `base` is the bare base model on the same prompts: it
tells what the engine's own arithmetic costs, quantisation for one. Knows no engine and computes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blends.manifest import replace_file

NAME = "reference.json"
VERSION = 1
PROMPTS = ("The reason why the sky is blue is", "Чтобы быстро бегать, нужно")
"""Prompts that suit any base. Other ones are as good: whoever reads the file asks the engine the file's own."""


class ReferenceInvalid(ValueError):
    """The file cannot be used; the message names the file, the line at fault and what would be right."""


@dataclass(frozen=True, slots=True)
class Line:
    """One prompt with its greedy continuation: the tokens' texts and their natural-log probabilities."""

    prompt: str
    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """Served name -> its lines; `base` holds the bare base model's lines, none where it was not computed."""

    blends: Mapping[str, tuple[Line, ...]]
    base: tuple[Line, ...] = ()
    computed_by: str = field(default="unknown", compare=False)


def read_reference(folder: Path) -> Reference | None:
    """Return the reference in `folder` (where blends.json is), None where there is none.

    Raises ReferenceInvalid for a file that is there and cannot be used.
    """
    file = folder / NAME
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ReferenceInvalid(f"{file} cannot be read ({error}); compute it again") from error
    if not isinstance(data, dict) or data.get("version") != VERSION or not isinstance(data.get("blends"), dict):
        raise ReferenceInvalid(f"{file} is no reference of version {VERSION}; compute it again")
    return Reference(
        {blend: _lines(file, blend, lines) for blend, lines in data["blends"].items()},
        _lines(file, "base", data.get("base", [])),
        str(data.get("computed_by", "unknown")),
    )


def write_reference(folder: Path, reference: Reference) -> Path:
    """Write `reference` into `folder`, replacing an older one in one step; return the file."""
    data = {
        "version": VERSION,
        "computed_by": reference.computed_by,
        "base": [_data(line) for line in reference.base],
        "blends": {blend: [_data(line) for line in lines] for blend, lines in sorted(reference.blends.items())},
    }
    replace_file(folder / NAME, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
    return folder / NAME


def _data(line: Line) -> dict[str, Any]:
    return {
        "prompt": line.prompt,
        "tokens": list(line.tokens),
        "logprobs": [round(value, 6) for value in line.logprobs],
    }


def _lines(file: Path, owner: str, data: object) -> tuple[Line, ...]:
    if not isinstance(data, list):
        raise ReferenceInvalid(f"{file}: {owner} has no list of lines; compute it again")
    return tuple(_line(file, f"line {number} of {owner}", line) for number, line in enumerate(data, 1))


def _line(file: Path, where: str, data: object) -> Line:
    if not isinstance(data, dict):
        raise ReferenceInvalid(f"{file}: {where} is no mapping; compute it again")
    prompt, tokens, logprobs = data.get("prompt"), data.get("tokens"), data.get("logprobs")
    if (
        not isinstance(prompt, str)
        or not isinstance(tokens, list)
        or not isinstance(logprobs, list)
        or not prompt
        or not 0 < len(tokens) == len(logprobs)
        or not all(isinstance(token, str) for token in tokens)
        or not all(isinstance(value, int | float) and math.isfinite(value) for value in logprobs)
    ):
        raise ReferenceInvalid(f"{file}: {where} needs a prompt and as many tokens as logprobs; compute it again")
    return Line(prompt, tuple(tokens), tuple(map(float, logprobs)))
