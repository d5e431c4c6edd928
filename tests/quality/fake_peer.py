"""A peer without a package of its own: `python -m tests.quality.fake_peer FOLDER [--wrong|--dies]`.

It takes the nearest exemplar's label, and finds no route for a question that is nearest to nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from bench.quality.exchange import NONE, Reply, read_task, write_reply

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if "--dies" in sys.argv:
        sys.exit(3)
    task = read_task(folder)
    cosines = task.questions @ task.vectors.T
    best = cosines.max(axis=1)
    chosen = np.where(best > 0.5, task.targets[cosines.argmax(axis=1)], NONE)
    if "--wrong" in sys.argv:
        chosen = chosen[:-1]
    write_reply(
        Reply(
            chosen,
            np.where(best > 0.5, np.clip(best, 0, 1), 0.0),
            7.0,
            {"version": "fake 1", "setup": "the nearest"},
        ),
        folder,
    )
