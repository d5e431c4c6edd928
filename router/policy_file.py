"""Policy file -> `Policies`: strict reading, tenants and roles resolved, meaning checked, revisions taken.

Knows nothing of YAML's syntax (`yaml_text`), shapes (`policy_document`), patches (`policy_callers`) or meaning
(`core.check`): it brings them together and puts file and line to whatever they find. Reads no adapter folder
and asks no engine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from router.core.check import check, check_isolation, near
from router.core.errors import PolicyInvalid, Problem
from router.core.limits import Capacity, Limits, check_capacity
from router.core.method import canonical
from router.core.policy import Adapter, Always, Policies, Policy, WhenAsked, WhenLabel
from router.policy_callers import DEFAULT_TENANT, Caller, Callers, place
from router.policy_document import AdapterEntry, Document, Gate, Profile
from router.shapes import Place, shaped
from router.yaml_text import Written, read_yaml


def load_policies(path: Path | str, labels: frozenset[str] | None = None) -> Policies:
    """Read one policy file and resolve every profile in it.

    `labels`: what the classifier can score, to refuse gates that could never open. Raises PolicyInvalid with
    every problem found, each with file, line, path, what is wrong and what would be right.
    """
    return resolve(read_yaml(Path(path)), labels)


def resolve(written: Written, labels: frozenset[str] | None = None) -> Policies:
    """Turn what a file says into `Policies`; see `load_policies`."""
    callers = Callers(written)
    document, problems = shaped(Document, written.data, partial(place, written, patches=()))
    if not isinstance(written.data, dict):
        raise PolicyInvalid(problems)
    profiles: dict[tuple[str, str | None], Policy] = {}
    for caller in callers.walk():
        placed = partial(place, written, patches=caller.patches)
        profile, found = shaped(Profile, caller.data, placed)
        if profile is not None:
            policy = _policy(profile, caller.tenant, caller.role)
            profiles[caller.tenant, caller.role] = policy
            document_profile = profiles.get((DEFAULT_TENANT, None), policy)
            wrong = [*check(policy, labels), *check_isolation(policy, document_profile)]
            found = [_placed(problem, placed) for problem in wrong]
        problems += _new(found, problems, caller, written)
    known = {problem.where for problem in problems}
    problems += [problem for problem in callers.problems if problem.where not in known]
    capacity = {} if document is None else _capacity(document)
    problems += _wrong_capacity(capacity, profiles.values(), written)
    if problems or document is None:
        raise PolicyInvalid(sorted(problems, key=lambda problem: problem.line or 0))
    revisions = sorted([tenant, role or "", policy.revision] for (tenant, role), policy in profiles.items())
    return Policies(profiles, _digest(revisions), capacity)


def _placed(problem: Problem, place_of: Place) -> Problem:
    """Return the problem with the path, file and line where its value is written."""
    where, file, line = place_of(tuple(filter(None, problem.where.split("."))))
    return replace(problem, where=where, file=file, line=line)


def _new(found: list[Problem], known: list[Problem], caller: Caller, written: Written) -> list[Problem]:
    """Return what is new; a fault outside the caller's patches, but because of them, names the caller."""
    new = []
    for problem in found:
        patch = next((patch for patch in caller.patches if problem.where.startswith(f"{patch}.")), "")
        if problem.where not in written.lines and any(
            problem.where == f"{patch}.{k.where}" and problem.wrong == k.wrong for k in known
        ):
            continue  # missing in the document, and so in every caller's
        if any(problem.where == k.where and k.wrong.startswith(problem.wrong) for k in known):
            continue
        if caller.patches and not patch and problem.where not in caller.patches:
            problem = replace(problem, wrong=f"{problem.wrong} (for {caller})")
        new.append(problem)
    return new


def _policy(profile: Profile, tenant: str, role: str | None) -> Policy:
    """Build the values of one profile. Lists whose order means nothing are sorted."""
    return Policy(
        base=profile.base,
        adapters=tuple(_adapter(name, entry) for name, entry in sorted(profile.adapters.items())),
        at_most=profile.compose.at_most,
        otherwise=tuple(sorted(profile.otherwise)),
        backends=tuple(profile.backends),
        merge=_merge(profile),
        refuse_conflict_above=_gate(profile),
        may_ask=frozenset(profile.may_ask) if "may_ask" in profile.model_fields_set else None,
        revision=_revision(profile),
        tenant=tenant,
        role=role,
        limits=_limits(profile),
    )


def _limits(profile: Profile) -> Limits:
    given = profile.limits
    return Limits(**{key: getattr(given, key) for key in given.model_fields_set})


def _capacity(document: Document) -> dict[str, Capacity]:
    return {
        name: Capacity.of(entry.at_once, entry.queue if "queue" in entry.model_fields_set else None, entry.wait)
        for name, entry in document.capacity.items()
    }


def _wrong_capacity(
    capacity: dict[str, Capacity], profiles: Iterable[Policy], written: Written
) -> Iterator[Problem]:
    known = frozenset(name for policy in profiles for name in policy.backends)
    for name in sorted(capacity.keys() - known if known else ()):
        where, file, line = place(written, ("capacity", name), ())
        yield Problem(where, f"no backend is called {name!r}", near(name, known), file, line)
    for name, key, problem in check_capacity(capacity):
        where, file, line = place(written, ("capacity", name, key), ())
        yield replace(problem, where=where, file=file, line=line)


def _merge(profile: Profile) -> str:
    """Return the method in its one form; what is none stays as it is, for `check` to say so."""
    try:
        return canonical(profile.compose.merge)
    except ValueError:
        return profile.compose.merge


def _gate(profile: Profile) -> float | None:
    compose = profile.compose
    return float(compose.refuse_conflict_above) if "refuse_conflict_above" in compose.model_fields_set else None


def _adapter(name: str, entry: AdapterEntry) -> Adapter:
    when: Always | WhenLabel | WhenAsked
    if isinstance(entry.when, Gate):
        when = WhenLabel(entry.when.label, entry.when.at_least)
    else:
        when = Always() if entry.when == "always" else WhenAsked()
    return Adapter(name, entry.source, when, entry.alone, float(entry.weight), tuple(sorted(entry.aliases)))


def _revision(profile: Profile) -> str:
    """Return 16 hex digits over the resolved document: equal for files that mean the same."""
    content = profile.model_dump(by_alias=True, exclude={"limits"})
    content["otherwise"].sort()
    content["may_ask"] = sorted(content["may_ask"]) if "may_ask" in profile.model_fields_set else None
    content["compose"]["merge"] = _merge(profile)
    if _gate(profile) is None:
        del content["compose"]["refuse_conflict_above"]
    for entry in content["adapters"].values():
        entry["aliases"].sort()
    return _digest(content)


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
