"""Policies in words, as JSON and as differences, for `agoge policy`. Prints nothing and reads no file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from router.cli.tables import counted
from router.core.blend import Blend, written
from router.core.limits import Capacity
from router.core.policy import Adapter, Always, Policies, Policy, WhenLabel
from router.core.reachable import ordered, reachable


def caller(tenant: str, role: str | None) -> str:
    """Return a caller for a person: `acme` or `acme/editor`."""
    return f"{tenant}/{role}" if role else tenant


def gate(adapter: Adapter) -> str:
    """Return when an adapter speaks: `always`, `asked` or `physics >= 0.45`."""
    if isinstance(adapter.when, WhenLabel):
        return f"{adapter.when.label} >= {adapter.when.at_least:g}"
    return "always" if isinstance(adapter.when, Always) else "asked"


def adapter_lines(policy: Policy) -> Iterator[tuple[str, ...]]:
    """Yield one row per adapter: name, gate, alone, weight, source, aliases."""
    for adapter in policy.adapters:
        asked = "" if policy.permits(adapter) else " (not this caller)"
        yield (
            adapter.name,
            gate(adapter) + asked,
            "alone" if adapter.alone else "",
            written(adapter.weight),
            adapter.source,
            ", ".join(adapter.aliases),
        )


def closure_in_words(policies: Policies) -> Iterator[str]:
    """Yield what can ever come out, in sentences: per caller, then over all."""
    for (tenant, role), policy in policies.profiles.items():
        blends = reachable(policy)
        isolated = [blend for blend in blends if blend.alone]
        core = sorted(policy.always())
        most = max(len(blend.members) for blend in blends)
        sentence = f"{caller(tenant, role)}: {counted(len(blends), 'blend')} of at most {counted(most, 'adapter')}"
        if core:
            sentence += f"; {' and '.join(core)} in every one that is not isolated"
        if isolated:
            sentence += f"; isolated: {', '.join(blend.members[0][0] for blend in isolated)}"
        yield f"{sentence}; revision {policy.revision}"
    every = {blend for policy in policies.profiles.values() for blend in reachable(policy)}
    yield f"{counted(len(every), 'blend')} in all; none is the bare base model, none mixes an isolated adapter"


def as_json(policy: Policy) -> dict[str, Any]:
    """Return a resolved profile as plain data."""
    return {
        "tenant": policy.tenant,
        "role": policy.role,
        "revision": policy.revision,
        "base": policy.base,
        "adapters": {a.name: adapter_json(a) for a in policy.adapters},
        "compose": {"at_most": policy.at_most, "merge": policy.merge} | _conflict_gate(policy),
        "otherwise": list(policy.otherwise),
        "backends": list(policy.backends),
        "may_ask": None if policy.may_ask is None else sorted(policy.may_ask),
        "limits": {key: value for key, value in asdict(policy.limits).items() if value is not None},
        "askable": list(policy.askable()),
        "blends": len(reachable(policy)),
    }


def _conflict_gate(policy: Policy) -> dict[str, float]:
    gate = policy.refuse_conflict_above
    return {} if gate is None else {"refuse_conflict_above": gate}


def adapter_json(adapter: Adapter) -> dict[str, Any]:
    """Return one adapter in the words of the policy file."""
    when: Any = gate(adapter)
    if isinstance(adapter.when, WhenLabel):
        when = {"label": adapter.when.label, "at_least": adapter.when.at_least}
    return {
        "from": adapter.source,
        "when": when,
        "alone": adapter.alone,
        "weight": adapter.weight,
        "aliases": list(adapter.aliases),
    }


def changes(old: Policies, new: Policies) -> dict[str, Any]:
    """Return what differs: sentences per caller, and the blends that come and go over all callers."""
    lines: list[str] = []
    for key in sorted(old.profiles.keys() | new.profiles.keys(), key=lambda k: (k[0], k[1] or "")):
        before, after = old.profiles.get(key), new.profiles.get(key)
        if before is None or after is None:
            lines.append(f"{caller(*key)}: {'added' if before is None else 'removed'}")
        elif (before.revision, before.limits) != (after.revision, after.limits):
            lines += [f"{caller(*key)}: {line}" for line in _profile_changes(before, after)]
    for name in sorted(old.capacity.keys() | new.capacity.keys()):
        took, takes = old.capacity.get(name), new.capacity.get(name)
        if took != takes:
            lines.append(f"capacity.{name}: {_capacity(took)} -> {_capacity(takes)}")
    had, has = _every(old), _every(new)
    return {
        "revision": {"old": old.revision, "new": new.revision},
        "changes": lines,
        "blends_added": [_blend_json(blend) for blend in ordered(has - had)],
        "blends_removed": [_blend_json(blend) for blend in ordered(had - has)],
    }


def _every(policies: Policies) -> set[Blend]:
    return {blend for policy in policies.profiles.values() for blend in reachable(policy)}


def _blend_json(blend: Blend) -> dict[str, Any]:
    return {"id": blend.id, "blend": str(blend), "alone": blend.alone}


def _capacity(capacity: Capacity | None) -> str:
    return "the usual" if capacity is None else _plain(asdict(capacity))


def limits_in_words(policy: Policy) -> str:
    """Return what a caller may take, for a person."""
    limits = policy.limits
    parts = [f"{limits.at_once} at once"] if limits.at_once is not None else []
    if limits.per_minute is not None:
        parts.append(f"{limits.per_minute} per minute")
    return ", ".join(parts) or "none"


def _profile_changes(old: Policy, new: Policy) -> Iterator[str]:
    before, after = as_json(old), as_json(new)
    for name in sorted(before["adapters"].keys() | after["adapters"].keys()):
        had, has = before["adapters"].get(name), after["adapters"].get(name)
        if had is None or has is None:
            yield f"adapter {name} {'added' if had is None else 'removed'}"
            continue
        for key in had:
            if had[key] != has[key]:
                yield f"{name}.{key}: {_plain(had[key])} -> {_plain(has[key])}"
    for key in ("base", "compose", "otherwise", "backends", "may_ask", "limits"):
        if before[key] != after[key]:
            yield f"{key}: {_plain(before[key])} -> {_plain(after[key])}"


def _plain(value: Any) -> str:
    match value:
        case dict():
            inside = ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list():
            return "[" + ", ".join(map(_plain, value)) + "]"
        case bool():
            return str(value).lower()
        case None:
            return "everybody's"
        case _:
            return str(value)
