"""Where an adapter lies: a local folder, or a repository of the Hugging Face hub at one commit.

Knows the two forms of a source and the hub's cache; knows nothing of what is inside an adapter.
"""

from __future__ import annotations

import re
from pathlib import Path

from blends.adapter import CONFIG, WEIGHTS

HUB = "hub:"
_REPOSITORY = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORM = "hub:owner/name@<commit>, with the 40 hex digits that the repository's page shows under 'Files, History'"


class SourceRefused(ValueError):
    """A source cannot be used; the message names it, says why and what to write."""


def resolve(source: str, relative_to: Path, cache_dir: Path | None = None) -> Path:
    """Return the folder of an adapter. A relative `source` starts from the folder `relative_to`.

    `hub:owner/name@<commit>` is taken from the hub's cache on this machine (`cache_dir`, else where
    huggingface_hub keeps it), which needs no network, and is downloaded when it is not there. A branch or tag is
    refused: what it names may change between two builds, and the blend would change without a word.
    Raises SourceRefused.
    """
    if source.startswith(HUB):
        return _from_hub(source, cache_dir)
    try:
        folder = (relative_to / source).expanduser().resolve()
        there = folder.is_dir()
    except (OSError, ValueError, RuntimeError) as fault:  # NUL, a name too long, links in a circle, nobody's ~
        raise SourceRefused(f"{source!r:.300} is no folder: {fault}") from None
    if not there:
        hint = f"; for a repository of the hub write {_FORM}" if _REPOSITORY.fullmatch(source) else ""
        raise SourceRefused(f"{source}: there is no folder {folder}{hint}")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise SourceRefused(f"{source}: {folder} holds no {name}: a PEFT adapter is {CONFIG} and {WEIGHTS}")
    return folder


def _from_hub(source: str, cache_dir: Path | None) -> Path:
    repository, at, revision = source.removeprefix(HUB).partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise SourceRefused(f"{source}: {repository!r} is no repository of the hub; write {_FORM}")
    if not at or not revision:
        raise SourceRefused(
            f"{source}: the commit is missing, and what a repository holds may change; write {_FORM}"
        )
    if not _COMMIT.fullmatch(revision):
        raise SourceRefused(
            f"{source}: {revision!r} is a branch, a tag or a short commit, and may name something else tomorrow; "
            f"write {_FORM}"
        )
    folder = _cached(repository, revision, cache_dir) or _downloaded(source, repository, revision, cache_dir)
    if missing := [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]:
        raise SourceRefused(f"{source} holds no {' and no '.join(missing)}: it is no PEFT adapter in safetensors")
    return folder


def _cached(repository: str, revision: str, cache_dir: Path | None) -> Path | None:
    """Return the snapshot when the cache has the whole adapter: a commit never changes; no network is needed."""
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repository, name, cache_dir, revision) for name in (CONFIG, WEIGHTS)]
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(found) else None


def _downloaded(source: str, repository: str, revision: str, cache_dir: Path | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        folder = snapshot_download(
            repository, revision=revision, cache_dir=cache_dir, allow_patterns=[CONFIG, WEIGHTS]
        )
    except GatedRepoError as fault:
        raise SourceRefused(f"{source} is gated: accept its terms on the hub and set HF_TOKEN") from fault
    except RepositoryNotFoundError as fault:
        missing = "the hub has no such repository for you; set HF_TOKEN if it is private"
        raise SourceRefused(f"{source}: {missing}") from fault
    except HfHubHTTPError as fault:
        raise SourceRefused(f"{source} cannot be fetched: {fault}") from fault
    except Exception as fault:  # offline, or no connection: the library's HTTP client changes with its version
        raise SourceRefused(
            f"{source} is not in the hub's cache on this machine, and the hub was not reached; fetch it where it "
            f"can be (hf download {repository} --revision {revision}) and bring the cache along (HF_HUB_CACHE)"
        ) from fault
    return Path(folder)
