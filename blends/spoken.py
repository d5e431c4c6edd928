"""What each built blend says when PEFT sums its members while it runs, in float32: the contents of reference.json.

The members' own folders are summed, not the built one: so a wrong composite is caught as well as a wrong engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from blends.adapter import AdapterRefused
from blends.base import BASE_ID
from blends.manifest import Manifest
from blends.reference import PROMPTS, Line, Reference
from blends.runtime import Runtime, Weights
from blends.sources import resolve
from blends.spec import source_sha256

TOKENS = 12
"""Tokens of each prompt: enough for a scale to show, and an engine in bf16 seldom strays so early."""

Progress = Callable[[int, int, str], None]


class ReferenceUncomputable(ValueError):
    """The manifest's blends cannot be summed here; the message says which, why, and what would be right."""


def speak(
    manifest: Manifest, relative_to: Path, base: Path | str | None = None, *,
    prompts: Sequence[str] = PROMPTS, tokens: int = TOKENS, cache_dir: Path | None = None,
    progress: Progress = lambda done, total, what: None,
) -> Reference:  # fmt: skip
    """Continue every prompt greedily by `tokens` tokens with every blend of the manifest, and with the bare base.

    `base` is where the base lies; None is the carried one if that is the manifest's, else its own id. A blend that
    ends its text at once has no line for that prompt. Raises ReferenceUncomputable and what resolving raises.
    """
    entries = {entry.served: entry for entry in manifest.entries}
    if len(manifest.bases) != 1:
        raise ReferenceUncomputable(
            f"a reference is of one base model, these blends are of {', '.join(manifest.bases) or 'none'}; build "
            "the policies of each base into a folder of their own"
        )
    folders: dict[str, Path] = {}
    for part in (part for entry in entries.values() for part in entry.members):
        folder = resolve(part.source, relative_to, cache_dir)
        try:
            changed = source_sha256(folder) != part.sha256
        except AdapterRefused as fault:
            raise ReferenceUncomputable(f"{part.name} ({part.source}): {fault}") from fault
        if changed:
            raise ReferenceUncomputable(
                f"{part.name} ({part.source}) has changed since the blends were built; build again: "
                "agoge blends build"
            )
        folders[part.sha256] = folder
    total = len(entries) + 1
    progress(0, total, "loading the base")
    runtime = Runtime.load(base or (None if manifest.bases[0] == BASE_ID else manifest.bases[0]))
    for sha256, folder in folders.items():
        runtime.add(sha256, folder)
    bare = _lines(runtime, prompts, {}, tokens)
    progress(1, total, "the base")
    lines: dict[str, tuple[Line, ...]] = {}
    for done, (served, entry) in enumerate(sorted(entries.items()), 2):
        lines[served] = _lines(runtime, prompts, {part.sha256: part.weight for part in entry.members}, tokens)
        progress(done, total, served)
    return Reference(lines, bare, f"peft {version('peft')}, float32")


def _lines(runtime: Runtime, prompts: Sequence[str], weights: Weights, tokens: int) -> tuple[Line, ...]:
    said = [(prompt, runtime.continued(prompt, weights, tokens)) for prompt in prompts]
    return tuple(Line(prompt, each.tokens, each.logprobs) for prompt, each in said if each.tokens)
