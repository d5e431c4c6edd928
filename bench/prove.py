"""`python -m bench.prove`: a million random decisions against every promise that a policy makes.

Each decision is compared with `bench.oracle` and checked for the promises one by one. Exits with 1 and the first
violations when there is one. The same seed makes the same decisions, however many processes share them.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.oracle import oracle
from bench.random_policies import GRID, random_ask, random_document, random_scores, shuffled
from router.core.blend import Blend
from router.core.decide import decide
from router.core.decision import Decision
from router.core.errors import Contradiction, Forbidden, Refused, UnknownMode
from router.core.policy import Always, Policy, WhenAsked, WhenLabel
from router.core.reachable import reachable
from router.core.scores import Scores
from router.policy_file import resolve
from router.yaml_text import Written

Decide = Callable[[Policy, Scores, frozenset[str] | None], Decision]
DECISIONS = 1_000_000
PER_POLICY = 250
"""Decisions about one random policy: enough to meet its ties, few enough for thousands of policies."""
REORDERED = 0.1
"""Share of decisions taken again with the lines of the policy in another order."""
SHOWN = 10
"""How many violations are printed in full."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise, with all that is needed to see it again."""

    promise: str
    document: dict[str, Any]
    scores: Scores
    asked: frozenset[str] | None

    def __str__(self) -> str:
        asked = None if self.asked is None else sorted(self.asked)
        return f"{self.promise}\n  policy {self.document}\n  {self.scores}\n  asked {asked}"


def violations(decide: Decide, count: int, seed: str) -> list[Violation]:
    """Take `count` decisions about one random policy and return every broken promise."""
    random = Random(seed)
    document = random_document(random)
    policy = resolve(Written(document, "generated")).profile("default", None)
    reordered = resolve(Written(shuffled(random, document), "generated")).profile("default", None)
    closure = frozenset(reachable(policy))
    found = []
    for _ in range(count):
        scores = Scores(random_scores(random, document), random.random() < 0.1)
        asked = random_ask(random, document)
        for promise in broken(decide, document, policy, reordered, closure, scores, asked, random):
            found.append(Violation(promise, document, scores, asked))
    return found


def broken(
    decide: Decide,
    document: dict[str, Any],
    policy: Policy,
    reordered: Policy,
    closure: frozenset[Blend],
    scores: Scores,
    asked: frozenset[str] | None,
    random: Random,
) -> Iterator[str]:
    """Yield the promises that this one decision breaks."""
    right = oracle(document, scores.values, scores.out_of_domain, asked)
    try:
        decision = decide(policy, scores, asked)
    except (UnknownMode, Forbidden, Contradiction) as refusal:
        if refusal.code != right:
            yield f"refused with {refusal.code}, but {right} is right"
        return
    except Exception as error:
        yield f"raised {error!r}, which is not documented"
        return
    if decision.blend.weights != right:
        yield f"{decision.blend} speaks, but {right} is right"
    if decision.blend not in closure:
        yield f"{decision.blend.id} is not in the closure"
    speaking = set(decision.blend.weights)
    always = {adapter.name for adapter in policy.adapters if isinstance(adapter.when, Always)}
    isolated = {adapter.name for adapter in policy.adapters if adapter.alone}
    if speaking & isolated and len(speaking) != 1:
        yield "an isolated adapter is not alone"
    if not speaking & isolated and not always <= speaking:
        yield "an `always` adapter is missing"
    if decision.blend.alone != bool(speaking & isolated):
        yield "the blend does not say that it is isolated"
    unnamed = {adapter.name for adapter in policy.adapters if isinstance(adapter.when, WhenAsked)} - speaking
    if [verdict.adapter for verdict in decision.verdicts] != sorted(document["adapters"].keys() - unnamed):
        yield "not exactly one verdict for each adapter but those that nobody named, in the order of names"
    if {verdict.adapter for verdict in decision.verdicts if verdict.speaks} != speaking:
        yield "the verdicts tell of other speakers"
    if decision.label != scores.label or decision.policy != policy.revision:
        yield "label or revision is wrong"
    if Decision.from_json(decision.to_json()) != decision:
        yield "the decision does not survive JSON"
    if random.random() < REORDERED and (reordered != policy or decide(reordered, scores, asked) != decision):
        yield "the order of lines matters"
    yield from _dropped(decide, policy, scores, asked, speaking, random)


def _dropped(
    decide: Decide,
    policy: Policy,
    scores: Scores,
    asked: frozenset[str] | None,
    speaking: set[str],
    random: Random,
) -> Iterator[str]:
    """Raise one speaking adapter's own score and see whether it still speaks."""
    gated = [a for a in policy.adapters if a.name in speaking and isinstance(a.when, WhenLabel)]
    if not gated:
        return
    adapter = random.choice(gated)
    assert isinstance(adapter.when, WhenLabel)
    before = scores.values.get(adapter.when.label, 0.0)
    higher = {**scores.values, adapter.when.label: max(before, random.choice(GRID))}
    try:
        after = decide(policy, Scores(higher, scores.out_of_domain), asked)
    except Refused as refusal:
        yield f"raising a score was refused: {refusal}"
        return
    if adapter.name not in after.blend.weights:
        yield f"raising the score of {adapter.when.label} dropped {adapter.name}"


def _share(seed: int, batch: tuple[int, int]) -> tuple[int, list[Violation]]:
    """Prove one policy's batch in a worker."""
    index, count = batch
    return count, violations(decide, count, f"{seed}/{index}")


def batches(decisions: int) -> list[tuple[int, int]]:
    """Split the decisions over policies: (policy's index, how many decisions)."""
    return [(at, min(PER_POLICY, decisions - at * PER_POLICY)) for at in range(-(-decisions // PER_POLICY))]


@click.command()
@click.option("--decisions", default=DECISIONS, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=min(4, os.cpu_count() or 1), show_default=True, type=click.IntRange(min=1))
def main(decisions: int, seed: int, workers: int) -> None:
    """Take random decisions and check every promise; exit with 1 when one is broken."""
    found: list[Violation] = []
    columns = (TextColumn("proving"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with multiprocessing.Pool(workers) as pool, Progress(*columns) as progress:
        task = progress.add_task("proving", total=decisions)
        for count, broken_here in pool.imap_unordered(partial(_share, seed), batches(decisions), chunksize=4):
            progress.advance(task, count)
            found += broken_here
    for violation in found[:SHOWN]:
        click.echo(str(violation), err=True)
    click.echo(f"{decisions} decisions, {len(found)} violations")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
