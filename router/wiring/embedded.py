"""What the embedded engine needs of a policy: one base, one folder per adapter, converted. Knows no address."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from blends.adapter import AdapterRefused, trained_on
from blends.base import BASE_ID, BaseMissing, BaseUnreadable, locate_base
from blends.gguf import cached
from blends.sources import HUB, SourceRefused, resolve
from router.backends.timeouts import Timeouts
from router.core.errors import PolicyInvalid, Problem
from router.core.policy import Policies, Policy
from router.ports import Backend
from router.wiring.settings import Settings, SettingsInvalid


def content_of(name: str, policies: Policies, settings: Settings) -> str:
    """Hash the adapters' files and the bases' names: a retrained adapter, or another base, is a new engine.

    Raises PolicyInvalid for an adapter that is no folder, or two under one name.
    """
    digest = hashlib.sha256(repr(_bases(name, policies)).encode())
    for adapter, folder in sorted(_folders(name, policies, settings).items()):
        digest.update(adapter.encode())
        for file in sorted(folder.glob("adapter_*")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


async def open_embedded(
    name: str, base: str, timeouts: Timeouts, policies: Policies, settings: Settings
) -> Backend:
    """Convert what is not converted yet, load it and start the engine. `base` is a GGUF, the carried one without.

    Raises PolicyInvalid, SettingsInvalid or BackendUnreachable with what is missing and where to get it.
    """
    bases = _bases(name, policies)
    if len(bases) > 1:
        named = " and ".join(map(repr, bases))
        right = "give the profiles of the second base a backend of their own"
        raise PolicyInvalid([Problem("base", f"{name} runs one base model, not {named}", right)])
    wrong = [model for model in bases if model != BASE_ID]
    if wrong and not base:
        raise PolicyInvalid(
            [
                Problem(
                    "base",
                    f"embedded: carries {BASE_ID}, not {wrong[0]}",
                    "write embedded:/path/to/that-base.gguf",
                )
            ]
        )
    folders = _folders(name, policies, settings)
    _check_training(bases, folders)

    def converted() -> tuple[Path, dict[str, Path]]:
        gguf = Path(base) if base else locate_base()
        if not gguf.is_file():
            raise BaseUnreadable(f"there is no file {gguf}; embedded: takes the path of a GGUF")
        return gguf, {each: cached(folder, gguf, settings.data / "gguf") for each, folder in folders.items()}

    try:
        gguf, adapters = await asyncio.to_thread(converted)
    except (BaseMissing, BaseUnreadable, AdapterRefused, OSError) as error:
        raise SettingsInvalid(f"backend {name}: {error}") from error
    from router.backends.embedded import EmbeddedBackend

    backend = EmbeddedBackend(name, gguf, adapters, timeouts=timeouts)
    await backend.start()
    return backend


def _check_training(bases: list[str], folders: dict[str, Path]) -> None:
    """Refuse adapters of another base model: shapes may fit by accident, and the answer would be nobody's."""
    problems = []
    for each, folder in folders.items():
        try:
            trained = trained_on(folder)
        except AdapterRefused as error:
            raise SettingsInvalid(str(error)) from error
        if trained is not None and trained not in bases:
            problems.append(
                Problem(
                    f"adapters.{each}.from",
                    f"{folder} was trained on {trained!r}, the policy's base is {bases[0]!r}",
                    "name the base that the adapters were trained on, exactly as adapter_config.json does",
                )
            )
    if problems:
        raise PolicyInvalid(problems)


def _profiles(name: str, policies: Policies) -> list[Policy]:
    """Return the profiles that name this backend."""
    return [policy for policy in policies.profiles.values() if name in policy.backends]


def _bases(name: str, policies: Policies) -> list[str]:
    """Return the base models of the profiles that name this backend."""
    return sorted({policy.base for policy in _profiles(name, policies)})


def _folders(name: str, policies: Policies, settings: Settings) -> dict[str, Path]:
    """Return adapter -> folder. The embedded engine adds adapters up by name: one name, one source."""
    sources: dict[str, str] = {}
    problems = []
    for policy in _profiles(name, policies):
        for adapter in policy.adapters:
            if sources.setdefault(adapter.name, adapter.source) != adapter.source:
                problems.append(
                    Problem(
                        f"adapters.{adapter.name}.from",
                        f"two profiles take it from {sources[adapter.name]!r} and {adapter.source!r}",
                        "the embedded engine knows one source per name: give the second one a name of its own",
                    )
                )
    folders = {}
    for each, source in sources.items():
        try:
            folders[each] = _folder(source, settings)
        except SourceRefused as fault:
            problems.append(Problem(f"adapters.{each}.from", "cannot be used", str(fault)))
    problems += [
        Problem(
            f"adapters.{each}.from", f"{folder} is no LoRA folder", "it needs adapter_config.json and its weights"
        )
        for each, folder in folders.items()
        if not (folder / "adapter_config.json").is_file()
    ]
    if problems:
        raise PolicyInvalid(problems)
    return folders


def _folder(source: str, settings: Settings) -> Path:
    """Return the adapter's folder. Raises SourceRefused for a repository of the hub that cannot be had."""
    return resolve(source, Path()) if source.startswith(HUB) else (settings.policy.parent / source).resolve()
