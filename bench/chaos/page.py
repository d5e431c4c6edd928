"""Findings -> the page for users, `docs/faults.md`. Pure; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from bench.chaos.run import Finding

_HEAD = """\
# What happens when ...
Redis, an engine, the policy, a client or the router itself fails while requests run. `make chaos` lets each of
these happen to a real `agoge serve` under load, watches the recovery, and writes this page; a short run of all
of them is part of `make test`.

**Whatever fails:** a request ends whole, or with an error that says why (OpenAI's error object with the right
status; in a stream that has begun, an error event and then `[DONE]`). Nobody else speaks than who was decided:
another backend is asked for the *same* blend, only before the first token, and an isolated adapter is never
replaced. Feedback that was acknowledged is kept. Engines, connections and memory are free again when the fault
is gone.
"""
_SUBJECTS = {
    "Redis": "## Redis, when ...\nNo request fails. Only feedback that Redis should keep gets 503 "
    "`outcomes_unavailable`, and may be sent again.\n",
    "Engine": "## An engine, when ...",
    "Policy": "## The policy file, when ...",
    "Client": "## A client, when ...",
    "Process": "## The router itself, at ...",
}
_TAIL = """\
## How it is measured
`python -m bench.chaos --seconds {seconds:g} --page docs/faults.md`, Python {python}, {cores} cores shared by
the router, two fake engines that speak vLLM's protocol and fail on command, a real Valkey behind a TCP proxy,
and the load: six clients of three tenants, streams, whole answers and feedback, three of seven prompts for
isolated adapters. Load average {load}: read the counts, not the speed. The engines' limits are short here
(`connect=2`, `first_token=2.5`, `between_tokens=2.5`).

*Requests* ran at some time of the fault; *whole* ended as if nothing were wrong. *Others* is the median time of
requests that the fault does not touch (of another engine, or all), before it and in it. *Back after* is the time
from the end of the fault until everything works again; for the router itself that is its start.

What is checked in each run, by joining what clients, engines and the router wrote down: who was decided is who
was asked for and who was heard, piece by piece; each decision is one that its policy's revision can take; no
engine was asked after another had begun; every error is one that this fault may cost; feedback that got 201 is
in the store; afterwards no client connection, half-closed socket, file, asyncio task or open answer is left, and
memory grew by less than 64 MiB.
"""


def page(findings: Sequence[Finding], machine: Mapping[str, object], seconds: float) -> str:
    """Return the page."""
    parts = [_HEAD]
    for group, found in groupby(findings, key=lambda finding: finding.group):
        parts.append(_table(_SUBJECTS[group], list(found)))
    parts.append(_TAIL.format(seconds=seconds, **machine))
    return "\n".join(parts)


def _table(title: str, findings: Sequence[Finding]) -> str:
    rows = [title, "| ... | what you see | requests | whole | others | back after |", "|" + " --- |" * 6]
    for each in findings:
        requests, whole = sum(each.during.values()), each.during.get("whole", 0)
        recovery = "never" if each.recovery is None else f"{each.recovery:.1f} s"
        rows.append(f"| {each.what} | {each.told} | {requests} | {whole} | {_others(each)} | {recovery} |")
    return "\n".join(rows) + "\n"


def _others(finding: Finding) -> str:
    if finding.p50_before is None or finding.p50_during is None:
        return ""
    return f"{finding.p50_before * 1000:.0f} -> {finding.p50_during * 1000:.0f} ms"
