"""Routers of others: each runs as a process of the peers' own Python, and is told its task by files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.quality.answers import Answers
from bench.quality.exchange import NONE, Task, read_reply, write_task
from bench.quality.vectors import Kept
from classifiers import Row

PYTHON = Path(".venv-peers/bin/python")
ROOT = Path(__file__).parents[2]
LIMIT = 3600  # seconds that one task may take


class PeerFailed(Exception):
    """A peer could not be run, or answered what is no answer."""


@dataclass
class Peer:
    """A `Contender` behind a process: `python -m MODULE FOLDER [options]` reads the task and writes the reply.

    `notes` are the peer's of its latest answer: its version, and how it was set up.
    """

    encoder: Kept
    module: str
    options: tuple[str, ...] = ()
    python: Path = PYTHON
    notes: dict[str, str] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()

    def fit(self, rows: Sequence[Row]) -> None:
        """Keep the rows: the process that answers learns from them."""
        self.rows = tuple(rows)

    def answer(self, texts: Sequence[str]) -> Answers:
        """Hand over vectors, wait, read; raises `PeerFailed`."""
        labels = tuple(sorted({row.label for row in self.rows}))
        place = {label: number for number, label in enumerate(labels)}
        task = Task(
            labels,
            self.encoder.encode([row.text for row in self.rows]),
            np.array([place[row.label] for row in self.rows], dtype=np.intp),
            self.encoder.encode(texts),
        )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_task(task, folder)
            self._run(folder)
            try:
                reply = read_reply(folder, len(texts), len(labels))
            except ValueError as error:
                raise PeerFailed(f"{self.module}: {error}") from error
        self.notes = reply.notes
        found = tuple(None if number == NONE else labels[number] for number in reply.chosen.tolist())
        return Answers(found, reply.confidence, 1 - reply.confidence, reply.microseconds)

    def _run(self, folder: Path) -> None:
        # one thread, as the others have; nothing of our environment's packages is seen by the other Python
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        command = [str(self.python), "-m", self.module, str(folder), *self.options]
        try:
            subprocess.run(
                command, cwd=ROOT, env=os.environ | one | {"PYTHONPATH": str(ROOT)}, check=True, timeout=LIMIT
            )
        except OSError as error:
            raise PeerFailed(f"{self.python} does not run ({error}); make .venv-peers/.ready builds it") from error
        except subprocess.SubprocessError as error:
            raise PeerFailed(f"{self.module}: {error}") from error


def peers(encoder: Kept, python: Path = PYTHON) -> dict[str, Peer]:
    """All of them by name."""
    return {
        "semantic-router": Peer(encoder, "bench.quality.peer_aurelio", python=python),
        "redisvl": Peer(encoder, "bench.quality.peer_redisvl", python=python),
        "redisvl, tuned": Peer(encoder, "bench.quality.peer_redisvl", ("--tuned",), python),
    }
