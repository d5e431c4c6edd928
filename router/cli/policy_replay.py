"""`agoge policy replay`: recorded decisions through another policy. Reads and prints; decides nothing itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from router.cli.policy import CODES, FAILED, OK, load
from router.cli.policy_replay_text import Findings, as_data, print_replay
from router.cli.tables import counted
from router.core.replay import Change, Replay
from router.core.tally import Tally
from router.decision_log import STDIN, DecisionLog, LogUnreadable

FAIL_ON = {
    "isolation": (Change.ISOLATION_ENDS, Change.ISOLATION_BEGINS),
    "refusal": (Change.REFUSED,),
    "change": tuple(change for change in Change if change is not Change.SAME),
}
_LOG = click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path)


@click.command(
    epilog=f"{CODES} A line of the log that cannot be replayed is wrong, and so is a log without decisions. A "
    "decision that changes is not, unless --fail-on names it."
)
@click.option(
    "--log",
    "files",
    type=_LOG,
    multiple=True,
    required=True,
    help="What `agoge serve` wrote to standard error, as it is, or packed as *.gz; - is standard input. May be "
    "repeated.",
)
@click.option("--policy", "file", type=click.Path(path_type=Path), help="The policy to try.")
@click.option(
    "--examples",
    default=3,
    show_default=True,
    type=click.IntRange(min=0),
    help="Ids of decisions for each change.",
)
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(list(FAIL_ON)),
    help="Exit with 1 when a decision changes so; change means any change. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(
    files: tuple[Path, ...], file: Path | None, examples: int, fail_on: tuple[str, ...], as_json: bool
) -> None:
    """Take the decisions of a log again by another policy, and say what changes.

    The log holds scores and named adapters, no prompt text; the policy decides as it would for requests.
    """
    if twice := next((str(log) for log in files if files.count(log) > 1), None):
        raise click.UsageError(f"--log {twice} is given twice; its decisions would count twice")
    path, policies = load(file, as_json)
    log, replay, tally = DecisionLog(), Replay(policies), Tally(examples)
    try:
        for recorded in log.read(files):
            tally.add(recorded, replay.again(recorded))
    except LogUnreadable as unreadable:
        if as_json:
            click.echo(json.dumps({"ok": False, "wrong": [str(unreadable)]}, ensure_ascii=False, indent=2))
        else:
            click.secho(str(unreadable), fg="red", err=True)
        raise SystemExit(FAILED) from unreadable
    names = ["standard input" if log_file == STDIN else str(log_file) for log_file in files]
    wrong = list(_wrong(log, tally, names, fail_on))
    findings = Findings(path, policies, names, log, tally)
    if as_json:
        click.echo(json.dumps({"ok": not wrong, "wrong": wrong} | as_data(findings), ensure_ascii=False, indent=2))
    else:
        print_replay(findings)
        for sentence in wrong:
            click.secho(sentence, fg="red", err=True)
    raise SystemExit(FAILED if wrong else OK)


def _wrong(log: DecisionLog, tally: Tally, names: Sequence[str], fail_on: Sequence[str]) -> Iterator[str]:
    """Yield why the exit code is 1."""
    if log.too_old:
        yield (
            f"not replayed: {counted(log.too_old, 'decision')} that an older Agoge wrote, without the scores; "
            "take a log of this version"
        )
    if log.damaged:
        yield f"not replayed: {counted(log.damaged, 'line')} that may have been a decision, and cannot be read"
    if not log.decisions and not log.unreadable:
        yield f"{', '.join(names)}: no decision in it; give a log of `agoge serve`, started without --no-log"
    counts = tally.by_change()
    for kind in fail_on:
        if changed := sum(counts[change] for change in FAIL_ON[kind]):
            yield f"--fail-on {kind}: {counted(changed, 'decision')}"
