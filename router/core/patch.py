"""JSON Merge Patch (RFC 7396): a tenant or a role is one patch over the document. Knows no policy."""

from __future__ import annotations

from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` changed by `patch`; neither is altered, though the result may share parts with both.

    A mapping in the patch is merged key by key, `None` removes a key, anything else (a list too) replaces.
    Source: RFC 7396, section 2.
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def removals_of_nothing(target: Any, patch: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths that `patch` removes although `target` lacks them: harmless to RFC 7396, a typo to us."""
    if not isinstance(patch, dict):
        return []
    known = target if isinstance(target, dict) else {}
    found: list[tuple[str, ...]] = []
    for key, value in patch.items():
        if value is None and key not in known:
            found.append((*path, key))
        else:
            found += removals_of_nothing(known.get(key), value, (*path, key))
    return found
