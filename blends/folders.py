"""Composed folders on the disk: made under a scratch name and renamed when they are whole; checked by their hash.

Beside the two files that engines read lies `composed.json`, with what was measured when the folder was made: a
folder explains itself, and a build that was interrupted before its manifest loses nothing. Knows no manifest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from blends.adapter import CONFIG, WEIGHTS, AdapterRefused
from blends.compose import compose
from blends.manifest import replace_file, sync_folder
from blends.method import Method
from blends.spec import Job, source_sha256
from blends.verify import CompositeBroken

RECEIPT = "composed.json"
SCRATCH = ".scratch-"
EXACT_ERROR = 1e-5
"""More than this relative error is not float32's rounding: an exact composite that has it is wrong."""
_BF16 = 2  # bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was measured when a folder was made; the fields are those of `blends.manifest.Entry`.

    `conflict` is the measured figure of the policy's gate, None where nothing was measured.
    """

    sha256: str
    error: float
    rank: int
    bucket: int
    modules: tuple[str, ...]
    layers: int
    bytes: int
    memory_bytes: int
    conflict: float | None = None


def make_folder(out: Path, job: Job) -> Receipt:
    """Compose, prove and write `out`/`job.served`, replacing a damaged one.

    Raises AdapterRefused for what has no composite, CompositeBroken when the result is not what it should be.
    """
    scratch = out / f"{SCRATCH}{job.served}-{os.getpid()}"
    try:
        made = compose(job.members(), job.base, scratch, Method.parse(job.method), layers=job.layers)
        if job.method == "exact" and not made.error <= EXACT_ERROR:
            raise CompositeBroken(
                f"{job.served} differs from the sum of its members by {made.error:.1e}, relative"
            )
        receipt = Receipt(
            sha256=source_sha256(scratch),
            error=made.error,
            rank=made.rank,
            bucket=made.bucket,
            modules=made.modules,
            layers=made.layers,
            bytes=sum((scratch / name).stat().st_size for name in (CONFIG, WEIGHTS)),
            memory_bytes=made.parameters * _BF16,
        )
        for name in (CONFIG, WEIGHTS):
            _sync(scratch / name)
        write_receipt(scratch, receipt)
        if (out / job.served).exists():
            (out / job.served).rename(out / f"{SCRATCH}old-{job.served}-{os.getpid()}")
        scratch.rename(out / job.served)
        sync_folder(out)
    finally:
        for left in (scratch, out / f"{SCRATCH}old-{job.served}-{os.getpid()}"):
            shutil.rmtree(left, ignore_errors=True)
    return receipt


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Write what was measured into the folder, in one step."""
    replace_file(folder / RECEIPT, json.dumps(asdict(receipt), indent=1) + "\n")


def read_receipt(folder: Path) -> Receipt | None:
    """Return what was measured when `folder` was made; None when that cannot be read."""
    try:
        data = json.loads((folder / RECEIPT).read_text("utf-8"))
        return replace(Receipt(**data), modules=tuple(data["modules"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def intact(folder: Path) -> Receipt | None:
    """Return the receipt when the folder's files are what they were when it was made, else None."""
    receipt = read_receipt(folder)
    try:
        return receipt if receipt is not None and source_sha256(folder) == receipt.sha256 else None
    except (OSError, AdapterRefused):
        return None


def clear_scratch(out: Path) -> None:
    """Remove what interrupted builds left; nobody else may be building into `out`."""
    for left in out.glob(f"{SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def prune(out: Path, keep: Collection[str]) -> Iterator[str]:
    """Remove the composed folders in `out` that are not named in `keep`; yields their names."""
    for folder in sorted(out.iterdir()):
        if folder.name not in keep and not folder.is_symlink() and (folder / RECEIPT).is_file():
            shutil.rmtree(folder)
            yield folder.name


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
