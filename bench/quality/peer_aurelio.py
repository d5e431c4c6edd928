"""aurelio's semantic-router as a peer: `python -m bench.quality.peer_aurelio FOLDER`, run by the peers' Python.

Its `IndexedRouter` as it comes: local index, the 5 nearest utterances, their mean by route, no threshold, so that
the best route always wins. Its confidence is calibrated as its documentation asks, by its own `fit` on queries
that are no stored utterances: a thousand exemplars ask a router that holds the others, and the calibrator so
found is handed to the router that holds all.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from semantic_router import IndexedRouter, Route
from semantic_router.calibration import Calibrator
from semantic_router.encoders import DenseEncoder

from bench.quality.exchange import NONE, Reply, Task, read_task, tell, write_reply

HELD_OUT = 1000  # exemplars that calibrate, or a fifth where there are few


class Known(DenseEncoder):  # type: ignore[misc]  # the package has no types here
    """An encoder that looks vectors up."""

    vectors: dict[str, list[float]]

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        """Vectors of numbered texts."""
        return [self.vectors[doc] for doc in docs]

    async def acall(self, docs: list[Any]) -> list[list[float]]:
        """The same, for callers in a loop."""
        return self(docs)


def name(row: int) -> str:
    """What an exemplar is called in place of its text."""
    return f"exemplar {row}"


def router_of(task: Task, encoder: Known, rows: list[int], calibrator: Calibrator | None = None) -> IndexedRouter:
    """A router that holds some of the exemplars."""
    routes = [
        Route(name=label, utterances=[name(row) for row in rows if task.targets[row] == number])
        for number, label in enumerate(task.labels)
    ]
    return IndexedRouter(encoder=encoder, routes=routes, calibrator=calibrator)


def answer(task: Task) -> Reply:
    """Calibrate, build, and ask one question after the other."""
    vectors = {name(row): vector for row, vector in enumerate(task.vectors.tolist())}
    vectors |= {f"question {row}": vector for row, vector in enumerate(task.questions.tolist())}
    encoder = Known(name="known", vectors=vectors)
    rows = np.random.default_rng(0).permutation(len(task.vectors)).tolist()
    asked = rows[: min(HELD_OUT, len(rows) // 5)]
    kept = rows[len(asked) :]
    trial = router_of(task, encoder, kept)
    report = trial.fit([name(row) for row in asked], [task.labels[task.targets[row]] for row in asked])
    router = router_of(task, encoder, rows, trial.calibrator)
    place = {label: number for number, label in enumerate(task.labels)}
    chosen, confidence, seconds = [], [], []
    for row in range(len(task.questions)):
        start = time.perf_counter()
        choice = router(f"question {row}")
        seconds.append(time.perf_counter() - start)
        tell("semantic-router", row + 1, len(task.questions))
        chosen.append(NONE if choice.name is None else place[choice.name])
        confidence.append(0.0 if choice.name is None else float(choice.confidence))
    return Reply(
        np.array(chosen, dtype=np.intp),
        np.clip(np.array(confidence), 0, 1),
        1e6 * float(np.median(seconds)),
        {
            "version": f"aurelio's semantic-router {version('semantic-router')}",
            "setup": "IndexedRouter, LocalIndex, top_k 5, aggregation mean, no threshold; Platt calibration by "
            f"its own fit on {report.n:,} held-out exemplars",
        },
    )


if __name__ == "__main__":
    write_reply(answer(read_task(Path(sys.argv[1]))), Path(sys.argv[1]))
