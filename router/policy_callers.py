"""Document + tenants + roles -> one resolved document per caller, and where each of its values is written.

A caller's document is the common one, changed by the tenant's patch, then by the common role's patch, then by the
tenant's own patch of that role (RFC 7396 each). Knows neither the shape of a policy nor its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from router.core.errors import Problem
from router.core.patch import merge_patch, removals_of_nothing
from router.shapes import described
from router.yaml_text import Written

DEFAULT_TENANT = "default"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a tenant or a role may be called: it goes into headers, logs and metrics."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One tenant and role, their resolved document, and the patches it comes from.

    `patches` are dotted paths in the file, the one that wins first; the document itself ("") is not among them.
    """

    tenant: str
    role: str | None
    data: dict[str, Any]
    patches: tuple[str, ...]

    def __str__(self) -> str:
        """Return the form used in messages."""
        return f"tenant {self.tenant}" + (f", role {self.role}" if self.role else "")


def place(written: Written, path: tuple[str, ...], patches: tuple[str, ...]) -> tuple[str, str, int | None]:
    """Return where the value at `path` of a resolved document is written: its path in the file, file and line.

    What is missing is placed at the nearest thing around it, in the patch that wins.
    """
    for end in range(len(path), -1, -1):
        for prefix in (*patches, ""):
            if (found := _joined(prefix, *path[:end])) in written.lines:
                return _joined(prefix, *path), written.file, written.lines[found]
    return _joined(*path), written.file, None


class Callers:
    """Walks the callers of a document; `problems` collects what is wrong with the patches themselves."""

    def __init__(self, written: Written) -> None:
        self.written = written
        self.problems: list[Problem] = []

    def walk(self) -> Iterator[Caller]:
        """Yield every caller, the open one (tenant default, no role) first."""
        document = dict(self.written.data)
        document.pop("capacity", None)  # what backends take is the same for everybody
        tenants = self._named("tenants", document.pop("tenants", {}))
        roles = self._named("roles", document.pop("roles", {}))
        yield from self._roles(Caller(DEFAULT_TENANT, None, document, ()), roles, {})
        for name, patch in tenants.items():
            own = dict(patch)
            at = f"tenants.{name}"
            own_roles = own.pop("roles", {})
            self._note_removals(document, own, at)
            caller = Caller(name, None, merge_patch(document, own), (at,))
            if own_roles is None:
                yield caller  # `roles: null`: this tenant knows no role
            else:
                yield from self._roles(caller, roles, self._named(f"{at}.roles", own_roles, removable=roles))

    def _roles(self, tenant: Caller, common: dict[str, Any], own: dict[str, Any]) -> Iterator[Caller]:
        """Yield the tenant without a role, then with each: the common patch first, the tenant's own over it."""
        yield tenant
        for role in {**common, **own}:
            if role in own and own[role] is None:
                continue
            data, patches = tenant.data, tenant.patches
            if role in common:
                at = f"roles.{role}"
                if tenant.tenant == DEFAULT_TENANT:  # elsewhere the tenant may have removed it already
                    self._note_removals(data, common[role], at)
                data, patches = merge_patch(data, common[role]), (at, *patches)
            if role in own:
                at = f"tenants.{tenant.tenant}.roles.{role}"
                self._note_removals(data, own[role], at)
                data, patches = merge_patch(data, own[role]), (at, *patches)
            yield Caller(tenant.tenant, role, data, patches)

    def _named(self, where: str, found: Any, removable: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the sound patches under `where`, by name; None stays where a role of `removable` is removed."""
        if not isinstance(found, dict):
            self._note(where, f"is {described(found)}", "write a mapping of names to patches")
            return {}
        sound: dict[str, Any] = {}
        for name, patch in found.items():
            at = f"{where}.{name}"
            if not NAME.fullmatch(name):
                right = "use A-Z, a-z, 0-9, _, . or -, starting with a letter or digit, 64 at most"
                self._note(at, f"the name {name!r} cannot go into headers and logs", right)
            elif where == "tenants" and name == DEFAULT_TENANT:
                self._note(at, "is the document itself", "change the document, or rename the tenant")
            elif patch is None and removable is not None:
                if name not in removable:
                    self._note(at, "removes a role that is not there", "remove this line, or correct the name")
                sound[name] = None
            elif not isinstance(patch, dict):
                self._note(at, f"is {described(patch)}", "write a mapping of changes; {} changes nothing")
            else:
                sound[name] = patch
        return sound

    def _note_removals(self, target: Any, patch: Any, prefix: str) -> None:
        for path in removals_of_nothing(target, patch):
            at = _joined(prefix, *path)
            self._note(at, "removes what is not there", "remove this line, or correct the key")

    def _note(self, where: str, wrong: str, right: str) -> None:
        self.problems.append(Problem(where, wrong, right, self.written.file, self.written.line(where)))


def _joined(*steps: str) -> str:
    return ".".join(filter(None, steps))
