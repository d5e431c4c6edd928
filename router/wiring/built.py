"""Which blends were built, for the engines that serve one adapter per request. Knows the manifest, no address."""

from __future__ import annotations

from pathlib import Path

from blends.manifest import FILE, ManifestInvalid, ManifestMissing, read_manifest
from router.wiring.settings import Settings, SettingsInvalid

Pairs = tuple[tuple[str, str], ...]


def published(settings: Settings) -> Pairs | None:
    """Return (blend id, the name it was built under) of every built blend; None where no manifest is in force.

    Raises SettingsInvalid for a manifest that is not there or cannot be read.
    """
    if settings.blends is None:
        return None
    try:
        return tuple(sorted(read_manifest(settings.blends).published.items()))
    except (ManifestMissing, ManifestInvalid) as error:
        raise SettingsInvalid(f"--blends: {error}") from error


def watched(settings: Settings) -> tuple[Path, ...]:
    """Return the files whose change makes the policy load again: the policy's own, and the manifest in force."""
    return (settings.policy,) if settings.blends is None else (settings.policy, settings.blends / FILE)
