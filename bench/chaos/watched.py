"""`agoge serve` exactly as it is, in a process that can be asked how many asyncio tasks it has.

    AGOGE_CHAOS_TASKS=FILE python -m bench.chaos.watched serve ...

SIGUSR1 writes the number and the names of the tasks' coroutines into FILE.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from pathlib import Path
from types import FrameType

from router.cli.main import main


def _tell(number: int, frame: FrameType | None) -> None:
    names = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    file = Path(os.environ["AGOGE_CHAOS_TASKS"])
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps(names), "utf-8")
    scratch.replace(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    main()
