"""What a replay found, as JSON and as tables. Reads no log and decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from router.cli.policy_text import caller
from router.cli.tables import counted, print_table
from router.core.blend import Blend
from router.core.policy import Policies
from router.core.replay import Change, Refusal
from router.core.tally import Counts, Tally, Transition, Unscored
from router.decision_log import DecisionLog

ROWS = 25
"""How many rows of a table are printed; `--json` has all."""
ISOLATION = (Change.ISOLATION_ENDS, Change.ISOLATION_BEGINS)
_SHOWN = {
    Change.ISOLATION_ENDS: "isolation ends",
    Change.ISOLATION_BEGINS: "isolation begins",
    Change.REFUSED: "refused",
    Change.CHANGED: "changed",
    Change.REBUILT: "rebuilt",
    Change.SAME: "same",
}


@dataclass(frozen=True, slots=True)
class Findings:
    """A replay that is done: by which policy, of which logs, and what was counted."""

    file: Path
    policies: Policies
    logs: Sequence[str]
    log: DecisionLog
    tally: Tally


def as_data(findings: Findings) -> dict[str, Any]:
    """Return everything as plain data."""
    log, tally, policies = findings.log, findings.tally, findings.policies
    return {
        "policy": {"file": str(findings.file), "revision": policies.revision},
        "log": {
            "files": list(findings.logs),
            "lines": log.lines,
            "decisions": log.decisions,
            "other": dict(log.others.most_common()),
            "too_old": log.too_old,
            "damaged": log.damaged,
            "first_unreadable": [asdict(fault) for fault in log.faults],
        },
        "recorded_by": {
            "policies": {revision: counts.total() for revision, counts in tally.by_policy().items()},
            "classifiers": {name: counts.total() for name, counts in tally.by_classifier().items()},
        },
        "totals": _counts(tally.by_change()),
        "changes": [_transition(transition) for transition in tally.transitions()],
        "labels": [{"label": label} | _counts(counts) for label, counts in tally.by_label().items()],
        "tenants": [
            {"tenant": tenant, "role": role} | _counts(counts)
            for (tenant, role), counts in tally.by_caller().items()
        ],
        "gates_without_scores": [_gate(unscored) for unscored in tally.unscored(policies)],
        "changed_by_their_own_policy": tally.unsteady(policies),
    }


def _counts(counts: Counts) -> dict[str, int]:
    return {"decisions": counts.total()} | {change.value: counts[change] for change in Change}


def _transition(transition: Transition) -> dict[str, Any]:
    replayed, answer = transition.replayed, transition.replayed.answer
    return {
        "change": replayed.change,
        "before": _blend(replayed.before),
        "after": None if isinstance(answer, Refusal) else _blend(answer),
        "refusal": asdict(answer) if isinstance(answer, Refusal) else None,
        "core_joins": list(replayed.core_joins),
        "decisions": transition.count,
        "examples": list(transition.examples),
    }


def _blend(blend: Blend) -> dict[str, Any]:
    return {"id": blend.id, "adapters": blend.weights, "alone": blend.alone}


def _gate(unscored: Unscored) -> dict[str, Any]:
    tenant, role = unscored.caller
    return {
        "tenant": tenant,
        "role": role,
        "adapter": unscored.adapter,
        "label": unscored.label,
        "decisions": unscored.scored,
        "without_score": unscored.without,
    }


def print_replay(findings: Findings) -> None:
    """Print everything for a person, isolation first."""
    log, tally = findings.log, findings.tally
    counts = tally.by_change()
    logs = ", ".join(findings.logs)
    click.echo(
        f"{findings.file}, revision {findings.policies.revision}: {counted(log.decisions, 'decision')} of {logs}"
    )
    for who, table in (("policy", tally.by_policy()), ("classifier", tally.by_classifier())):
        if table:
            click.echo(f"recorded by {who} {_listed({name: n.total() for name, n in table.items()})}")
    if log.others:
        click.echo(f"other lines: {_listed(log.others)}")
    for fault in log.faults:
        click.secho(str(fault), fg="red", err=True)
    if log.unreadable > len(log.faults):
        click.secho(f"... and {log.unreadable - len(log.faults)} more", fg="red", err=True)
    if not log.decisions:
        return
    click.echo(", ".join(f"{_SHOWN[change]} {counts[change]}" for change in reversed(Change)))
    _print_changes(tally.transitions())
    _print_counts("label", ((label or "none", n) for label, n in tally.by_label().items()))
    _print_counts("tenant", ((caller(*who), n) for who, n in tally.by_caller().items()))
    for sentence in _warnings(findings):
        click.secho(sentence, fg="yellow")


def _print_changes(transitions: Sequence[Transition]) -> None:
    isolation = [t for t in transitions if t.replayed.change in ISOLATION]
    if isolation:
        count = sum(t.count for t in isolation)
        click.secho(
            f"ISOLATION changes for {counted(count, 'decision')}; look at this first:", fg="red", bold=True
        )
        _print_transitions(isolation)
    if others := [t for t in transitions if t.replayed.change not in ISOLATION]:
        click.echo("other changes:" if isolation else "changes:")
        _print_transitions(others)


def _print_transitions(transitions: Sequence[Transition]) -> None:
    rows = [
        (str(t.count), _SHOWN[t.replayed.change], _said(t.replayed.before), _after(t), " ".join(t.examples))
        for t in transitions
    ]
    _print_rows(("decisions", "change", "before", "after", "for example"), rows)


def _said(blend: Blend) -> str:
    return f"{blend} (alone)" if blend.alone else str(blend)


def _after(transition: Transition) -> str:
    answer = transition.replayed.answer
    if isinstance(answer, Refusal):
        return f"{answer.code}: {answer.message}"
    if transition.replayed.change is Change.REBUILT:
        return answer.id
    joins = transition.replayed.core_joins
    return f"{_said(answer)}; joining: {', '.join(joins)}" if joins else _said(answer)


def _print_counts(heading: str, table: Iterable[tuple[str, Counts]]) -> None:
    rows = [
        (
            name,
            str(counts.total()),
            *(str(counts[change]) for change in (Change.SAME, Change.CHANGED, Change.REBUILT, Change.REFUSED)),
            str(sum(counts[change] for change in ISOLATION)),
        )
        for name, counts in table
    ]
    _print_rows((heading, "decisions", "same", "changed", "rebuilt", "refused", "isolation"), rows)


def _print_rows(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    print_table(headings, rows[:ROWS])
    if len(rows) > ROWS:
        click.echo(f"... and {len(rows) - ROWS} more rows; --json has all")


def _warnings(findings: Findings) -> Iterator[str]:
    """Yield what a reader of the tables must know."""
    for gate in findings.tally.unscored(findings.policies):
        yield (
            f"{caller(*gate.caller)}: {gate.adapter} waits for the label {gate.label}, for which "
            f"{gate.without} of {counted(gate.scored, 'scored decision')} hold no score; there its gate stays shut"
        )
    if unsteady := findings.tally.unsteady(findings.policies):
        yield (
            f"{counted(unsteady, 'decision')} changed although this very policy decided: "
            "the log was edited, or another version of Agoge wrote it"
        )
    if len(classifiers := findings.tally.by_classifier()) > 1:
        yield f"{len(classifiers)} classifiers scored these decisions; a gate that suits one may not suit another"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'none'} ({count})" for name, count in counts.items())
