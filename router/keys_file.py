"""Keys file: which API key belongs to which tenant and role. Knows no HTTP; keeps and prints no key.

A key stands there as itself or as `sha256:<64 hex digits>` of itself, so that the file need not hold a secret.
Either way only digests stay in memory, and a presented key is looked up by its digest: the time that takes says
nothing about the keys that exist.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from router.core.errors import PolicyInvalid, Problem, Unauthenticated
from router.core.policy import Policies
from router.shapes import Shape, shaped
from router.yaml_text import Written, read_yaml

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_SHOWN = frozenset({"keys", "tenant", "role"})
_KEY = re.compile(r"[\x21-\x7e]+")
"""Visible ASCII: what an Authorization header can carry."""


class Holder(Shape):
    """Whose key it is."""

    tenant: str = Field(description="a tenant of the policy", examples=["acme"])
    role: str = Field(default="", description="a role of that tenant, or leave it out", examples=["editor"])


class KeyRing(Shape):
    """The whole file."""

    keys: dict[str, Annotated[Holder, Field(description="a mapping of tenant and role")]] = Field(
        description="a mapping of API keys to { tenant, role }", examples=['"sha256:...": { tenant: acme }']
    )


@dataclass(frozen=True, slots=True)
class Keys:
    """Digest of an API key -> (tenant, role). Its repr shows no digest."""

    holders: Mapping[str, tuple[str, str | None]] = field(repr=False)

    def identify(self, api_key: str | None) -> tuple[str, str | None]:
        """Return the tenant and role of a presented key. Raises Unauthenticated without a known one."""
        if not api_key:
            raise Unauthenticated("an API key is needed: send it as `Authorization: Bearer <key>`")
        holder = self.holders.get(_digest(api_key))
        if holder is None:
            raise Unauthenticated("this API key is not known")
        return holder


def load_keys(path: Path | str, policies: Policies) -> Keys:
    """Read a keys file. Raises PolicyInvalid with every problem; no message shows a key, only its place."""
    try:
        written = read_yaml(Path(path), shows=_SHOWN)
    except PolicyInvalid as invalid:
        raise PolicyInvalid(
            [replace(problem, where=problem.where or "keys file") for problem in invalid.problems]
        ) from None

    def place(at: tuple[str, ...]) -> tuple[str, str | None, int | None]:
        where = _shown(written.data, at)
        return where, written.file, written.line(where)

    ring, problems = shaped(KeyRing, written.data, place, show=False)
    if ring is None:
        raise PolicyInvalid(problems)
    holders: dict[str, tuple[str, str | None]] = {}
    for at, (key, holder) in enumerate(ring.keys.items(), 1):
        digest, found = _read(key, holder, policies, f"#{at}", written)
        if digest in holders:
            found.append(_problem(written, f"#{at}", "is a key that stands here twice", "keep one of the two"))
        problems += found
        holders[digest] = (holder.tenant, holder.role or None)
    if not ring.keys:
        problems.append(
            Problem("keys", "is empty: nobody could call", "add a key", written.file, written.line("keys"))
        )
    if problems:
        raise PolicyInvalid(problems)
    return Keys(holders)


def _shown(data: Any, path: tuple[str, ...]) -> str:
    """Return a path in which whatever could be a key is a number, even in a file that is laid out wrongly."""
    steps = []
    for step in path:
        entries = list(data) if isinstance(data, dict) else []
        steps.append(step if step in _SHOWN or step not in entries else f"#{entries.index(step) + 1}")
        data = data.get(step) if isinstance(data, dict) else None
    return ".".join(steps)


def _read(key: str, holder: Holder, policies: Policies, at: str, written: Written) -> tuple[str, list[Problem]]:
    """Return the digest of one entry and what is wrong with it."""
    problems = []
    caller = (holder.tenant, holder.role or None)
    if caller not in policies.profiles:
        known = ", ".join(sorted(f"{tenant}/{role}" if role else tenant for tenant, role in policies.profiles))
        name = "/".join(filter(None, caller))
        problems.append(_problem(written, at, f"the policy has no caller {name}", f"known are: {known}"))
    written_digest = _DIGEST.fullmatch(key)
    if written_digest is not None:
        return written_digest[1], problems
    if key.lower().startswith("sha256:"):
        right = "write sha256: and 64 lower-case hex digits (printf %s KEY | sha256sum)"
        problems.append(_problem(written, at, "is not a SHA-256", right))
    elif not _KEY.fullmatch(key):
        problems.append(
            _problem(written, at, "holds what a header cannot carry", "use visible ASCII without spaces")
        )
    return _digest(key), problems


def _problem(written: Written, at: str, wrong: str, right: str) -> Problem:
    where = f"keys.{at}"
    return Problem(where, wrong, right, written.file, written.line(where))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
