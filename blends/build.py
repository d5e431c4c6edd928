"""Specs -> composed folders and their manifest: incremental, parallel, and whole or not at all.

A blend's folder is named by its content, so one that is there and intact is the right one. The manifest is
replaced last, in one step: whatever interrupts a build, the last good manifest and its folders stay. Knows no
policy file and no engine; what a conflict is, somebody else measures.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from blends.adapter import AdapterRefused
from blends.folders import Receipt, clear_scratch, intact, prune, write_receipt
from blends.manifest import Entry, Manifest, write_manifest
from blends.sources import SourceRefused
from blends.spec import Job, Spec, job_of
from blends.workers import cores, made

LOCK = ".build.lock"
_UNMEASURED = (
    "there is nothing to measure them with: each adapter needs held-out questions beside it (heldout.jsonl), and "
    "measuring needs the packages of the extra [train]"
)


class Conflict(Protocol):
    """What a blend costs its members. `str()` of it is the figures, for a person."""

    @property
    def worst(self) -> float:
        """The largest share of what it can alone that a member loses in the blend; 0.03 is 3 %."""
        ...


Progress = Callable[[int, int, str], None]  # (done, total, what was done last)
ConflictOf = Callable[[Spec], Conflict | None]  # None: nothing to measure it with; ValueError: it cannot be used


class BuildRefused(ValueError):
    """Some blends cannot be built. `problems` is (blend, reason) of each; the last good manifest stays."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{blend}: {reason}" for blend, reason in self.problems))


class BuildBusy(RuntimeError):
    """Another build is writing into the same folder."""


@dataclass(frozen=True, slots=True)
class Built:
    """What a build did: the manifest, and the names of what was composed anew, reused and removed."""

    manifest: Manifest
    made: tuple[str, ...]
    reused: tuple[str, ...]
    pruned: tuple[str, ...] = ()


def build(
    specs: Sequence[Spec],
    out: Path,
    relative_to: Path,
    jobs: int | None = None,
    progress: Progress | None = None,
    *,
    conflict_of: ConflictOf | None = None,
    cache_dir: Path | None = None,
    layers: int | None = None,
    prune_unnamed: bool = False,
) -> Built:
    """Build every spec into `out`, and write the manifest that names exactly these.

    `jobs` processes work at a time, as many as there are cores by default; each holds about twice its result in
    memory. `relative_to` is where relative sources start. `layers`: see `compose`.
    Raises BuildRefused with everything that cannot be built, BuildBusy, and OSError.
    """
    say = progress or (lambda done, total, what: None)
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        clear_scratch(out)
        todo, problems = _jobs(specs, relative_to, cache_dir, layers)
        have = _intact(out, {job.served for job in todo.values()})
        figures = _gate(specs, todo, have, conflict_of, problems)
        wanted = {job.served: job for spec, job in todo.items() if job.served not in have}
        for served in {todo[spec].served for spec in problems if spec in todo}:
            if all(spec in problems for spec, job in todo.items() if job.served == served):
                wanted.pop(served, None)
        reused = tuple(sorted(have))
        for count, served in enumerate(reused, 1):
            say(count, len(have) + len(wanted), f"{served} is there")
        failed: dict[str, str] = {}
        for served, result in made(out, list(wanted.values()), jobs):
            if isinstance(result, Receipt):
                have[served] = result
            else:
                failed[served] = str(result)
            say(len(have) + len(failed), len(reused) + len(wanted), served)
        problems |= {spec: failed[job.served] for spec, job in todo.items() if job.served in failed}
        if problems:
            raise BuildRefused([(f"{spec} ({spec.id})", problems[spec]) for spec in specs if spec in problems])
        for served, figure in figures.items():
            if have[served].conflict != figure:
                have[served] = replace(have[served], conflict=figure)
                write_receipt(out / served, have[served])
        entries = {spec.id: _entry(spec, job, have[job.served]) for spec, job in todo.items()}
        manifest = Manifest(
            tuple(sorted(entries.values(), key=lambda entry: entry.blend)),
            os.path.relpath(relative_to.resolve(), out.resolve()),
        )
        write_manifest(out, manifest)
        pruned = tuple(prune(out, {entry.served for entry in manifest.entries})) if prune_unnamed else ()
    return Built(manifest, tuple(sorted(wanted)), reused, pruned)


def _jobs(
    specs: Sequence[Spec], relative_to: Path, cache_dir: Path | None, layers: int | None
) -> tuple[dict[Spec, Job], dict[Spec, str]]:
    """Find and hash all sources; return the jobs, and why some specs have none."""
    todo: dict[Spec, Job] = {}
    problems: dict[Spec, str] = {}
    hashes: dict[Path, str] = {}
    for spec in specs:
        try:
            todo[spec] = job_of(spec, relative_to, cache_dir, hashes, layers)
        except (SourceRefused, AdapterRefused) as fault:
            problems[spec] = str(fault)
    return todo, problems


def _intact(out: Path, names: set[str]) -> dict[str, Receipt]:
    """Return the receipts of the folders that need not be built. Threads do: hashing leaves the interpreter."""
    with ThreadPoolExecutor(cores()) as pool:
        found = zip(sorted(names), pool.map(lambda name: intact(out / name), sorted(names)), strict=True)
        return {name: receipt for name, receipt in found if receipt is not None}


def _gate(
    specs: Sequence[Spec],
    todo: Mapping[Spec, Job],
    have: Mapping[str, Receipt],
    conflict_of: ConflictOf | None,
    problems: dict[Spec, str],
) -> dict[str, float]:
    """Measure what the policy wants measured; return served -> figure, and add the refused ones to `problems`."""
    figures: dict[str, float] = {}
    for spec in specs:
        limit = spec.refuse_conflict_above
        if limit is None or spec not in todo or len(spec.members) < 2:
            continue
        served, known, said = todo[spec].served, None, ""
        if served in figures:
            known = figures[served]
        elif served in have:
            known = have[served].conflict
        if known is None or known > limit:  # what is refused is measured again: its figures are wanted
            try:
                measured = conflict_of(spec) if conflict_of is not None else None
            except ValueError as fault:  # the texts or the base cannot be used; its message says which and why
                problems[spec] = f"the policy refuses conflicts above {limit:g}, and measuring failed: {fault}"
                continue
            if measured is None:
                problems[spec] = f"the policy refuses conflicts above {limit:g}, and {_UNMEASURED}"
                continue
            known, said = measured.worst, str(measured)
        figures[served] = known
        if known > limit:
            problems[spec] = f"the conflict is {known:.3g}, the policy refuses above {limit:g}: {said}"
    return figures


def _entry(spec: Spec, job: Job, receipt: Receipt) -> Entry:
    return Entry(
        blend=spec.id,
        served=job.served,
        members=job.parts,
        base=spec.base,
        alone=spec.alone,
        method=job.method,
        error=receipt.error,
        rank=receipt.rank,
        bucket=receipt.bucket,
        modules=receipt.modules,
        layers=receipt.layers,
        bytes=receipt.bytes,
        memory_bytes=receipt.memory_bytes,
        sha256=receipt.sha256,
        conflict=receipt.conflict,
    )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder's lock. The system lets go of it when the process ends, however it ends."""
    with (out / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BuildBusy(
                f"another build is writing into {out}; wait for it, or build elsewhere: --out"
            ) from None
        yield
