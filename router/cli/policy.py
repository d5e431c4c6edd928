"""`agoge policy`: check, show, test, compare policies, list the blends they reach. Prints; decides nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from router.cli.lazy import LazyGroup
from router.cli.policy_text import adapter_lines, as_json, changes, closure_in_words, limits_in_words
from router.core.errors import PolicyInvalid, Problem, Refused
from router.core.policy import Policies, Policy
from router.core.reachable import ordered, reachable

OK, FAILED, USAGE = 0, 1, 2
CODES = "Exit codes: 0 all is well, 1 something is wrong and named, 2 wrong usage of this command."
Command = TypeVar("Command", bound=Callable[..., Any])


VERBS = {"replay": ("router.cli.policy_replay", "Take the decisions of a log again by another policy.")}


@click.group(cls=LazyGroup, verbs=VERBS, epilog=CODES)
def command() -> None:
    """Check, show, test and compare policies; list the blends they reach."""


def _file(function: Command) -> Command:
    """Add FILE, which may be left out."""
    return click.argument("file", required=False, type=click.Path(path_type=Path))(function)


_json = click.option("--json", "as_data", is_flag=True, help="Print JSON for programs.")


def load(file: Path | None, as_data: bool = False) -> tuple[Path, Policies]:
    """Load the policy (the shipped one when none is named), or print every problem and leave with 1."""
    from router.policy_file import load_policies
    from router.wiring.settings import shipped

    path = file or shipped("policies", "default.yaml")
    try:
        return path, load_policies(path)
    except PolicyInvalid as invalid:
        _fail(invalid, as_data)


def _fail(invalid: PolicyInvalid, as_data: bool) -> NoReturn:
    """Print every problem and leave with 1."""
    if as_data:
        _print_json({"ok": False, "problems": [_problem(problem) for problem in invalid.problems]})
    else:
        for problem in invalid.problems:
            click.echo(str(problem), err=True)
        count = len(invalid.problems)
        click.secho(f"{count} problem{'s' if count > 1 else ''}", fg="red", err=True)
    raise SystemExit(FAILED)


def _problem(problem: Problem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in ("file", "line", "where", "wrong", "right")}


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=2))


@command.command(epilog=CODES)
@_file
@_json
def check(file: Path | None, as_data: bool) -> None:
    """Read FILE strictly, resolve every tenant and role, and check what could ever come out."""
    path, policies = load(file, as_data)
    if as_data:
        profiles = [
            {"tenant": t, "role": r, "revision": p.revision, "blends": len(reachable(p))}
            for (t, r), p in policies.profiles.items()
        ]
        _print_json({"ok": True, "revision": policies.revision, "profiles": profiles, "problems": []})
        return
    click.secho(f"{path}: good", fg="green")
    for line in closure_in_words(policies):
        click.echo(line)


@command.command(epilog=CODES)
@_file
@click.option("--tenant", default="default", show_default=True, help="Whose profile.")
@click.option("--role", default=None, help="In which role.")
@_json
def show(file: Path | None, tenant: str, role: str | None, as_data: bool) -> None:
    """Show one caller's resolved profile: adapters, gates, weights, aliases, engines."""
    _, policies = load(file, as_data)
    try:
        policy = policies.profile(tenant, role)
    except Refused as refusal:
        raise click.UsageError(str(refusal)) from refusal
    if as_data:
        _print_json(as_json(policy))
        return
    _show(policy)


def _show(policy: Policy) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("adapter", "speaks", "alone", "weight", "from", "aliases"):
        table.add_column(heading, overflow="fold")
    for cells in adapter_lines(policy):
        table.add_row(*cells)
    who = f"tenant {policy.tenant}" + (f", role {policy.role}" if policy.role else "")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)  # a pipe has no width
    console.print(f"{who}, revision {policy.revision}, base {policy.base}", markup=False)
    console.print(table)
    for line in (
        f"at most {policy.at_most} join the core; merge {policy.merge}{_gate_in_words(policy)}",
        f"nobody passes a gate: {', '.join(policy.otherwise) or 'nobody joins'}",
        f"may be asked for: {', '.join(policy.askable())}",
        f"engines, in order: {', '.join(policy.backends)}",
        f"limits: {limits_in_words(policy)}",
        f"reachable blends: {len(reachable(policy))}",
    ):
        console.print(line, markup=False)


def _gate_in_words(policy: Policy) -> str:
    gate = policy.refuse_conflict_above
    return "" if gate is None else f"; refused when an adapter loses more than {gate:.0%} in a blend"


@command.command(epilog=CODES)
@_file
@click.argument("cases", required=False, type=click.Path(path_type=Path))
@_json
def test(file: Path | None, cases: Path | None, as_data: bool) -> None:
    """Run CASES (FILE's own .cases.yaml when left out) through the function that decides for requests."""
    from router.policy_cases import cases_beside, load_cases, reached, run_cases

    path, policies = load(file, as_data)
    try:
        outcomes = run_cases(policies, load_cases(cases or cases_beside(path), policies))
    except PolicyInvalid as invalid:
        _fail(invalid, as_data)
    failed = [outcome for outcome in outcomes if not outcome.passed]
    every = ordered(blend for policy in policies.profiles.values() for blend in reachable(policy))
    missed = [blend for blend in every if blend not in reached(outcomes)]
    if as_data:
        _print_json(
            {
                "ok": not failed,
                "cases": [
                    {"name": o.case.name, "line": o.case.line, "passed": o.passed}
                    | {"expected": o.case.expected(), "got": o.got()}
                    for o in outcomes
                ],
                "blends": len(every),
                "unreached": [str(blend) for blend in missed],
            }
        )
    else:
        for outcome in outcomes:
            if outcome.passed:
                click.echo(f"pass  {outcome.case.name}")
                continue
            click.secho(f"FAIL  {outcome.case.name} (line {outcome.case.line})", fg="red")
            click.echo(f"      expected {outcome.case.expected()}\n      got      {outcome.got()}")
        click.echo(
            f"{len(outcomes) - len(failed)} of {len(outcomes)} cases pass; "
            f"they reach {len(every) - len(missed)} of {len(every)} blends"
        )
    raise SystemExit(FAILED if failed else OK)


@command.command(epilog=f"{CODES} A difference is not an error: the code stays 0.")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@_json
def diff(old: Path, new: Path, as_data: bool) -> None:
    """Say what changes from OLD to NEW: callers, adapters, gates, weights, and blends that come or go."""
    found = changes(load(old, as_data)[1], load(new, as_data)[1])
    if as_data:
        _print_json(found)
        return
    for line in found["changes"]:
        click.echo(line)
    for sign, color, key in (("+", "green", "blends_added"), ("-", "red", "blends_removed")):
        for blend in found[key]:
            click.secho(f"{sign} blend {blend['id']}  ({blend['blend']})", fg=color)
    if not found["changes"] and not found["blends_added"] and not found["blends_removed"]:
        click.echo("they mean the same")


@command.command(epilog=CODES)
@_file
@_json
@click.option("--lora-adapters", is_flag=True, help="Print TGI's environment line instead.")
@click.option("--root", default="/adapters", show_default=True, help="Where TGI finds the blends' folders.")
def blends(file: Path | None, as_data: bool, lora_adapters: bool, root: str) -> None:
    """List every blend that any tenant or role can ever reach: what has to be built for TGI."""
    _, policies = load(file, as_data)
    every = ordered(blend for policy in policies.profiles.values() for blend in reachable(policy))
    if lora_adapters:
        items = ",".join(f"{blend.id}={root.rstrip('/')}/{blend.id}" for blend in every)
        click.echo(f"LORA_ADAPTERS={items}")
    elif as_data:
        _print_json([{"id": b.id, "adapters": b.weights, "alone": b.alone} for b in every])
    else:
        for blend in every:
            click.echo(f"{blend.id}  {blend}{'  alone' if blend.alone else ''}")


@command.command(epilog=CODES)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("policies/policy.schema.json"),
    show_default=True,
    help="Where to write it; - prints it.",
)
def schema(out: Path) -> None:
    """Write the JSON schema with which editors complete and check policy files."""
    from router.policy_document import schema_text

    if str(out) == "-":
        click.echo(schema_text(), nl=False)
        return
    try:
        out.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {out}: {error.strerror}") from error
    click.echo(f"wrote {out}")
