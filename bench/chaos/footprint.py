"""What a process holds, from outside: memory, files, sockets by whom they lead to, threads, asyncio tasks. Linux.

Source: proc(5), `/proc/PID/fd`, `/proc/PID/net/tcp`, `/proc/PID/status`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LISTENING, _CLOSE_WAIT = "0A", "08"  # include/net/tcp_states.h


@dataclass(frozen=True)
class Footprint:
    """`memory` in bytes is what the process itself holds. Pages of mapped files are left out: the kernel keeps
    them, and takes them back when memory is short. (Of the encoder's 72 MB they come with the words looked up.)

    `peers` counts TCP connections by "clients", "redis" and "engines"; `half_closed` are
    those whose other side has left (CLOSE_WAIT), but for those to Redis: a pool finds out when it next uses
    them. `files` counts all descriptors that are no such connection, by what they lead to. `tasks` counts
    asyncio tasks by coroutine.
    """

    memory: int
    half_closed: int
    threads: int
    files: Mapping[str, int] = field(default_factory=dict)
    peers: Mapping[str, int] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)


def footprint(pid: int, port: int, redis: int, engines: Collection[int], tasks: Path) -> Footprint:
    """Look at a process that listens on `port` and has `redis` and `engines` as its neighbours' ports.

    `tasks` is the file into which bench.chaos.watched writes. Raises OSError for a process that is gone.
    """
    names = list[str]()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            continue  # closed while we looked
    files = Counter(names)
    peers, half_closed = Counter[str](), 0
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if (name := f"socket:[{columns[9]}]") not in files or columns[3] == _LISTENING:
            continue
        del files[name]
        here, there = (int(columns[at].partition(":")[2], 16) for at in (1, 2))
        kind = "clients" if here == port else "redis" if there == redis else "engines" if there in engines else "?"
        peers[kind] += 1
        half_closed += columns[3] == _CLOSE_WAIT and kind != "redis"
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Footprint(
        sum(int(status[part].split()[0]) for part in ("RssAnon", "RssShmem")) * 1024,
        half_closed,
        int(status["Threads"]),
        dict(files),
        dict(peers),
        _tasks(pid, tasks),
    )


def _tasks(pid: int, file: Path, seconds: float = 10.0) -> dict[str, int]:
    file.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    end = time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"the process did not count its tasks within {seconds:g} s")
        time.sleep(0.01)
    found: dict[str, int] = json.loads(file.read_text("utf-8"))
    return found
