"""Policy file -> `Policies`: strict reading, tenants and roles resolved, meaning checked, revisions taken.

Knows nothing of YAML's syntax (`yaml_text`), shapes (`policy_document`) or meaning (`core.check`): it brings
them together and puts file and line to whatever they find. Reads no adapter folder and asks no engine.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.core.check import check
from router.core.errors import PolicyInvalid, Problem
from router.core.patch import merge_patch, removals_of_nothing
from router.core.policy import Adapter, Always, Policies, Policy, WhenAsked, WhenLabel
from router.policy_document import AdapterEntry, Document, Gate, Profile
from router.shapes import shaped
from router.yaml_text import Written, read_yaml

DEFAULT_TENANT = "default"
CALLER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a tenant or a role may be called: it goes into headers, logs and metrics."""


def default_policy() -> Path:
    """Return the policy that is used when none is named: ./policies, else the one that came with the package."""
    here = Path("policies/default.yaml")
    shipped = (Path(__file__).parent.parent / here, Path(sys.prefix) / "share" / "agoge" / here)
    return next((path for path in (here, *shipped) if path.is_file()), here)


def load_policies(path: Path | str, labels: frozenset[str] | None = None) -> Policies:
    """Read one policy file and resolve every profile in it.

    `labels`: what the classifier can score, to refuse gates that could never open. Raises PolicyInvalid with
    every problem found, each with file, line, path, what is wrong and what would be right.
    """
    return resolve(read_yaml(Path(path)), labels)


def resolve(written: Written, labels: frozenset[str] | None = None) -> Policies:
    """Turn what a file says into `Policies`; see `load_policies`."""
    base = _Layers(written, ("",))
    document, problems = shaped(Document, written.data, base.place)
    if not isinstance(written.data, dict):
        raise PolicyInvalid(problems)
    profiles: dict[tuple[str, str | None], Policy] = {}
    for layers, tenant, role, data in _callers(written, problems):
        profile, found = shaped(Profile, data, layers.place)
        if profile is not None:
            policy = _policy(profile, tenant, role)
            profiles[tenant, role] = policy
            found = [layers.placed(problem) for problem in check(policy, labels)]
        problems += _new(found, problems, layers)
    if problems or document is None:
        raise PolicyInvalid(problems)
    revisions = sorted([tenant, role or "", policy.revision] for (tenant, role), policy in profiles.items())
    return Policies(profiles, _digest(revisions))


@dataclass(frozen=True, slots=True)
class _Layers:
    """Where one profile's values are written: its patches, the one that wins first, then the document ("")."""

    written: Written
    prefixes: tuple[str, ...]
    caller: str = ""

    def place(self, path: tuple[str, ...]) -> tuple[str, str | None, int | None]:
        """Return where the value at `path` of the resolved document comes from, its file and line."""
        for end in range(len(path), -1, -1):
            for prefix in self.prefixes:
                written_at = ".".join(filter(None, (prefix, *path[:end])))
                if written_at in self.written.lines:
                    where = ".".join(filter(None, (prefix, *path)))
                    return where, self.written.file, self.written.lines[written_at]
        return ".".join(path), self.written.file, None

    def placed(self, problem: Problem) -> Problem:
        """Return the problem with file, line and the patch it comes from."""
        where, file, line = self.place(tuple(problem.where.split(".")) if problem.where else ())
        return Problem(where, problem.wrong, problem.right, file, line)


def _new(found: list[Problem], known: list[Problem], layers: _Layers) -> Iterator[Problem]:
    """Yield what is not known yet; a fault that only a caller's patch causes elsewhere names that caller."""
    for problem in found:
        if problem in known:
            continue
        if not layers.caller or any(problem.where.startswith(prefix) for prefix in layers.prefixes if prefix):
            yield problem
        else:
            wrong = f"{problem.wrong} ({layers.caller})"
            if not any(problem.where == k.where and k.wrong.startswith(problem.wrong) for k in known):
                yield Problem(problem.where, wrong, problem.right, problem.file, problem.line)


def _callers(
    written: Written, problems: list[Problem]
) -> Iterator[tuple[_Layers, str, str | None, dict[str, Any]]]:
    """Yield every profile's layers, tenant, role and resolved data; what is wrong with patches is noted."""
    body = {key: value for key, value in written.data.items() if key != "tenants"}
    tenants = {DEFAULT_TENANT: {}, **_patches(written, "tenants", written.data.get("tenants"), problems)}
    for tenant, patch in tenants.items():
        at = "" if tenant == DEFAULT_TENANT else f"tenants.{tenant}"
        _note_removals(written, body, patch, at, problems)
        whole = merge_patch(body, patch)
        roles = _patches(written, f"{at}.roles".strip("."), whole.pop("roles", None), problems)
        name = f"for tenant {tenant}" if at else ""
        yield _Layers(written, (at, "") if at else ("",), name), tenant, None, whole
        for role, role_patch in roles.items():
            places = [place for place in (f"{at}.roles.{role}" if at else "", f"roles.{role}") if place]
            first = next((place for place in places if place in written.lines), places[-1])
            _note_removals(written, whole, role_patch, first, problems)
            caller = f"for tenant {tenant}, role {role}"
            layers = _Layers(written, (*places, *([at] if at else []), ""), caller)
            yield layers, tenant, role, merge_patch(whole, role_patch)


def _patches(written: Written, where: str, data: Any, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    """Return the patches that are sound in themselves; the document's shape reports wrong types at the top."""
    sound = {}
    for name, patch in data.items() if isinstance(data, dict) else ():
        at = f"{where}.{name}"
        problem = None
        if not CALLER.fullmatch(name):
            problem = Problem(
                at,
                f"the name {name!r} cannot go into headers and logs",
                "use A-Z, a-z, 0-9, _, . or -, starting with a letter or digit, 64 at most",
                written.file,
                written.line(at),
            )
        elif where == "tenants" and name == DEFAULT_TENANT:
            problem = Problem(
                at,
                "is the document itself",
                "change the document, or rename the tenant",
                written.file,
                written.line(at),
            )
        if problem is not None and problem not in problems:
            problems.append(problem)
        elif problem is None and isinstance(patch, dict):
            sound[name] = patch
    return sound


def _note_removals(
    written: Written, target: Any, patch: Mapping[str, Any], prefix: str, problems: list[Problem]
) -> None:
    for path in removals_of_nothing(target, patch):
        at = ".".join(filter(None, (prefix, *path)))
        problem = Problem(
            at, "removes what is not there", "remove this line, or correct the key", written.file, written.line(at)
        )
        if problem not in problems:
            problems.append(problem)


def _policy(profile: Profile, tenant: str, role: str | None) -> Policy:
    """Build the values of one profile. Lists whose order means nothing are sorted."""
    return Policy(
        base=profile.base,
        adapters=tuple(_adapter(name, entry) for name, entry in sorted(profile.adapters.items())),
        at_most=profile.compose.at_most,
        otherwise=tuple(sorted(profile.otherwise)),
        backends=tuple(profile.backends),
        merge=profile.compose.merge,
        may_ask=frozenset(profile.may_ask) if "may_ask" in profile.model_fields_set else None,
        revision=_revision(profile),
        tenant=tenant,
        role=role,
    )


def _adapter(name: str, entry: AdapterEntry) -> Adapter:
    when: Always | WhenLabel | WhenAsked
    if isinstance(entry.when, Gate):
        when = WhenLabel(entry.when.label, entry.when.at_least)
    else:
        when = Always() if entry.when == "always" else WhenAsked()
    return Adapter(name, entry.source, when, entry.alone, float(entry.weight), tuple(sorted(entry.aliases)))


def _revision(profile: Profile) -> str:
    """Return 16 hex digits over the resolved document: equal for files that mean the same."""
    content = profile.model_dump(by_alias=True)
    content["otherwise"].sort()
    content["may_ask"] = sorted(content["may_ask"]) if "may_ask" in profile.model_fields_set else None
    for entry in content["adapters"].values():
        entry["aliases"].sort()
    return _digest(content)


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
