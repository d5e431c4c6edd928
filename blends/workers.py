"""Processes that compose: as many as there are cores, none left behind. Knows jobs, not what they are for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

from blends.adapter import AdapterRefused
from blends.folders import Receipt, make_folder
from blends.spec import Job
from blends.verify import CompositeBroken


def made(out: Path, todo: Sequence[Job], jobs: int | None) -> Iterator[tuple[str, Receipt | Exception]]:
    """Compose every job into `out`; yield (served, receipt or refusal) as they finish.

    Raises OSError for what no adapter is to blame for: no space, no memory.
    """
    workers = max(1, min(jobs or cores(), len(todo)))
    if workers == 1:
        for job in todo:
            yield job.served, _attempt(out, job)
        return
    # Started afresh, not forked: the parent may hold threads and locks, and numpy's threads are counted at import.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        with _threads_each(max(1, cores() // workers)):
            running: dict[Future[Receipt | Exception], Job] = {
                pool.submit(_attempt, out, job): job for job in todo
            }
        for future in as_completed(running):
            yield running[future].served, future.result()
    except BrokenProcessPool as fault:
        raise OSError("a worker was killed, probably for want of memory; build with fewer: --jobs 1") from fault
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return how many cores this process may use: its affinity, and a container's share where `quota` says one.

    The file holds microseconds of CPU per microseconds of time, or "max" (kernel.org, cgroup-v2, cpu.max).
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        count = os.cpu_count() or 1
    try:
        share, period = map(float, quota.read_text().split())
    except (OSError, ValueError):
        return count
    return max(1, min(count, int(share / period)))


def _attempt(out: Path, job: Job) -> Receipt | Exception:
    try:
        return make_folder(out, job)
    except (AdapterRefused, CompositeBroken) as fault:
        return fault


def _begin() -> None:
    """Prepare a worker: Ctrl-C is the parent's business, and nobody works on for a parent that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - workers are only ever started by a parent

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _threads_each(count: int) -> Iterator[None]:
    """Have the processes that start now use `count` threads for their arithmetic."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
