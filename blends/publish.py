"""A manifest -> how each engine has to be launched to serve it. Starts nothing and speaks to no engine.

Read from the engines' sources (docs/backends.md says which versions): TGI 3.3.7, vLLM 0.33, SGLang 0.5, llama.cpp.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blends import gguf
from blends.base import read_shape
from blends.manifest import Entry, Manifest
from blends.sources import resolve
from blends.spec import source_sha256

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for --max-lora-rank."""
SLOTS = 8
"""Adapters side by side in one batch, if nobody says otherwise; each slot costs memory of the largest rank."""
_SPLIT_ON = re.compile(
    r"[,=@:\s]"
)  # TGI splits its list on the first three, llama.cpp on : and , and shells on blanks


class Unpublishable(ValueError):
    """The manifest cannot be served as asked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A command with its environment, and what a person should know about it."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def line(self) -> str:
        """Return it as one line for a shell."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return shlex.join([*(["env", *variables] if variables else []), *self.command])


def entries_of(manifest: Manifest, base: str | None = None) -> tuple[Entry, ...]:
    """Return the blends of one base model, each served name once; of `base` where there are several.

    Raises Unpublishable for an unknown base, or for none where several are built.
    """
    if not manifest.entries:
        raise Unpublishable("nothing is built; build the policy's blends first: agoge blends build")
    if base is None and len(manifest.bases) > 1:
        raise Unpublishable(f"an engine serves one base model; say which with --base: {', '.join(manifest.bases)}")
    chosen = base or manifest.bases[0]
    found = {entry.served: entry for entry in manifest.entries if entry.base == chosen}
    if not found:
        raise Unpublishable(f"no blend is built on {chosen!r}; there are {', '.join(manifest.bases)}")
    return tuple(found.values())


def paths(entries: Sequence[Entry], root: str) -> dict[str, str]:
    """Return served name -> folder, where the engine sees it under `root`. Raises Unpublishable."""
    if _SPLIT_ON.search(root):
        raise Unpublishable(
            f"the path {root!r} holds a blank or one of , = @ :, which engines split their lists on; let the "
            "engine see the folders under another path (--root)"
        )
    return {entry.served: f"{root.rstrip('/')}/{entry.folder}" for entry in entries}


def tgi(entries: Sequence[Entry], root: str) -> Launch:
    """TGI learns its adapters at the start, from LORA_ADAPTERS."""
    listed = ",".join(f"{name}={path}" for name, path in paths(entries, root).items())
    return Launch(
        ("text-generation-launcher", "--model-id", entries[0].base, "--cuda-graphs", "0"),
        {"LORA_ADAPTERS": listed, "PREFIX_CACHING": "0"},
        (
            "--cuda-graphs 0: graphs are captured without LoRA: with them an adapter acts on one token only",
            "PREFIX_CACHING=0: the cache is keyed by tokens alone and would mix adapters",
            "start the router with the same LORA_ADAPTERS and with --blends: TGI tells nobody what it holds",
        ),
    )


def vllm(entries: Sequence[Entry], root: str, slots: int | None = None) -> Launch:
    """vLLM takes name=path at the start, and more over HTTP while it runs."""
    largest = max(entry.bucket for entry in entries)
    # One slot stays empty: for vLLM's CPU kernels "no adapter" is index -1, the last slot. Whatever adapter fills
    # it answers a request to the base (the canary's) that shares a batch with others. Read, measured at 0.32.0.
    side_by_side = slots or min(len(entries) + 1, SLOTS)
    rank = next(rank for rank in VLLM_RANKS if rank >= largest)
    return Launch(
        (
            *("vllm", "serve", entries[0].base, "--enable-lora"),
            *("--max-lora-rank", str(rank), "--max-loras", str(side_by_side)),
            *("--max-cpu-loras", str(max(len(entries), side_by_side)), "--lora-modules"),
            *(f"{name}={path}" for name, path in paths(entries, root).items()),
        ),
        {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"},
        (
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING lets `publish --load` add blends while it runs; keep it private",
            "never set VLLM_SKIP_MODEL_NAME_VALIDATION: unknown names would be answered by the bare base model",
        ),
    )


def sglang(entries: Sequence[Entry], root: str, slots: int | None = None) -> Launch:
    """SGLang takes NAME=PATH at the start, and more over HTTP within the rank and modules fixed at the start."""
    modules = sorted({module for entry in entries for module in entry.modules})
    side_by_side = slots or min(len(entries) + 1, SLOTS)  # the base counts as one
    return Launch(
        (
            *("python", "-m", "sglang.launch_server", "--model-path", entries[0].base, "--enable-lora"),
            *("--max-lora-rank", str(max(entry.bucket for entry in entries))),
            *("--max-loras-per-batch", str(side_by_side), "--lora-target-modules", *modules, "--lora-paths"),
            *(f"{name}={path}" for name, path in paths(entries, root).items()),
        ),
        {},
        ("a blend of a larger rank or of other modules needs a restart: both are fixed here",),
    )


def llamacpp(files: Sequence[str], root: str, base_gguf: str) -> Launch:
    """llama.cpp adds single adapters up per request; each starts at 0, so that nobody speaks unasked."""
    paths((), root)
    listed = ",".join(f"{root.rstrip('/')}/{file}:0.0" for file in files)
    names = ",".join(file.removesuffix(".gguf") for file in files)
    return Launch(
        ("llama-server", "-m", base_gguf, "--lora-scaled", listed),
        {},
        (
            "no blend has to be built for it: the router sends every adapter's weight with every request",
            f"in front of it: agoge serve --backend 'NAME=llamacpp+http://HOST:PORT?files={names}'",
        ),
    )


def export_gguf(
    entries: Sequence[Entry], relative_to: Path, base_gguf: Path, out: Path, cache_dir: Path | None = None
) -> list[str]:
    """Write each single adapter of the blends as `<adapter>-<12 hex digits>.gguf` into `out`; return the names.

    Raises Unpublishable for one name with two contents (llama.cpp's sums go by name) and for a lossy blend, which
    no sum at run time is; SourceRefused, AdapterRefused and BaseUnreadable.
    """
    sources: dict[str, tuple[str, str]] = {}
    for entry in entries:
        if entry.method != "exact":
            raise Unpublishable(
                f"{entry.served} is merged by {entry.method}; llama.cpp adds up exactly: merge: exact"
            )
        for part in entry.members:
            if sources.setdefault(part.name, (part.source, part.sha256))[1] != part.sha256:
                raise Unpublishable(
                    f"two adapters are called {part.name}; llama.cpp knows them by name: rename one"
                )
    shape = read_shape(base_gguf)
    out.mkdir(parents=True, exist_ok=True)
    names = []
    for name, (source, sha256) in sorted(sources.items()):
        folder = resolve(source, relative_to, cache_dir)
        if source_sha256(folder) != sha256:
            raise Unpublishable(f"{name} ({source}) has changed since the build; build again: agoge blends build")
        digest = hashlib.sha256(f"{gguf.VERSION} {shape!r} {sha256}".encode()).hexdigest()[:12]
        names.append(f"{name}-{digest}.gguf")
        if not (out / names[-1]).is_file():
            gguf.convert(folder, base_gguf, out / names[-1])
            (out / names[-1]).chmod(0o644)  # an engine under another user reads it
    return names
