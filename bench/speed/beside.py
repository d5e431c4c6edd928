"""A library measured in a process of its own: it is given texts, and tells what they cost. Knows no library.

One line of JSON each way, over the standard streams.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.speed.processes import SECRET, TABLES

Answer = dict[str, Any]
Ask = Callable[..., Answer]


@contextmanager
def beside(*command: str, cores: Sequence[int] | None = None) -> Iterator[Ask]:
    """Run a Python module that calls `answering` until the end of the block; yield what asks it.

    Raises RuntimeError when it ends before it has answered.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **TABLES, **SECRET},
        text=True,
        encoding="utf-8",
    )
    assert child.stdin is not None
    assert child.stdout is not None
    to, back = child.stdin, child.stdout
    if cores is not None:
        os.sched_setaffinity(child.pid, cores)

    def ask(**asked: Any) -> Answer:
        to.write(json.dumps(asked, ensure_ascii=False) + "\n")
        to.flush()
        line = back.readline()
        if not line:
            raise RuntimeError(f"{' '.join(command)} ended with {child.wait(20)}")
        said: Answer = json.loads(line)
        return said

    try:
        yield ask
    finally:
        to.close()
        child.wait(20)


def answering(answer: Callable[..., Answer]) -> None:
    """Answer line after line until there are no more."""
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)
