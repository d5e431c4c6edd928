"""Outcomes in a file: several writers, crashes, full disks. What was acknowledged is there."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from router.core.outcome import Outcome
from router.outcomes.file import FileOutcomes
from router.outcomes.record import written
from router.ports import OutcomesUnavailable
from tests.conftest import ROOT
from tests.stubs import until


def outcome(id: str, text: str | None = None) -> Outcome:
    return Outcome(id, "right", "physics", "default", 1.0, text=text)


def start(path: Path, name: str, count: int = 0) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a writer; it acknowledges into the file that is returned."""
    said = path.parent / f"said-{name}"
    command = [sys.executable, "-m", "tests.outcomes.writer", str(path), name, str(count)]
    with said.open("wb") as sink:
        return subprocess.Popen(command, cwd=ROOT, stdout=sink), said


async def ids(path: Path, told: list[str] | None = None) -> list[str]:
    said = [] if told is None else told
    return [each.decision_id async for each in FileOutcomes(path, said.append).read()]


async def test_order_folders_and_who_may_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "outcomes.jsonl"
    assert await ids(path) == []
    assert not path.parent.exists()
    store = FileOutcomes(path)
    for number in range(3):
        await store.add(outcome(f"dec_{number}", "строка\nдве"))
    assert await ids(path) == ["dec_0", "dec_1", "dec_2"]
    assert len(path.read_bytes().split(b"\n")) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_nothing_acknowledged_is_lost_when_writers_are_killed(tmp_path: Path) -> None:
    """Two writers at a time, killed with SIGKILL in the middle of their work, five times over."""
    path = tmp_path / "outcomes.jsonl"
    acknowledged: list[str] = []
    told: list[str] = []
    for turn in range(5):
        writers = [start(path, f"{turn}{letter}") for letter in "ab"]
        for _, said in writers:
            await until(lambda said=said: said.read_bytes().count(b"\n") > 1, 60)  # it is at work
        await asyncio.sleep(0.05 * turn)
        for writer, _ in writers:
            writer.send_signal(signal.SIGKILL)
        for writer, said in writers:
            assert writer.wait(60) == -signal.SIGKILL
            acknowledged += said.read_text("utf-8").split("\n")[:-1]
    found = await ids(path, told)
    assert len(acknowledged) > 20
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found))
    assert len(found) <= len(acknowledged) + 10  # at most one more per writer: kept, and killed before it said so
    assert len(told) <= 10


async def test_writers_at_the_same_time_never_mix_their_lines(tmp_path: Path) -> None:
    path, told = tmp_path / "outcomes.jsonl", []
    writers = [start(path, letter, 40) for letter in "abc"]
    for writer, _ in writers:
        assert await asyncio.to_thread(writer.wait, 120) == 0
    found = await ids(path, told)
    assert told == []
    for letter in "abc":
        assert [id for id in found if id.startswith(letter)] == [f"{letter}-{number}" for number in range(40)]
    assert len(found) == 120


async def test_a_torn_last_line_is_told_and_the_next_outcome_is_whole(tmp_path: Path) -> None:
    path, told = tmp_path / "outcomes.jsonl", []
    torn = written(outcome("dec_torn", "a marker"))[:-9]
    path.write_bytes(written(outcome("dec_0")) + b"\n" + torn)
    assert await ids(path, told) == ["dec_0"]
    assert told == [f"{path}:2: skipped: not JSON; the last line, torn by a crash or still being written"]
    store = FileOutcomes(path, told.append)
    await store.add(outcome("dec_1"))
    assert "its last line is torn" in told[1]
    assert await ids(path, told) == ["dec_0", "dec_1"]
    assert told[2] == f"{path}:2: skipped: not JSON"
    assert torn in path.read_bytes()  # nothing is taken away
    assert "marker" not in "".join(told)


async def test_a_full_disk_is_told_and_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    store = FileOutcomes(path)
    await store.add(outcome("dec_0"))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(OutcomesUnavailable, match="only 100 of"):
            await store.add(outcome("dec_1", "x" * 5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == before
    await store.add(outcome("dec_2"))
    assert await ids(path) == ["dec_0", "dec_2"]


async def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutcomesUnavailable, match="File exists"):
        await FileOutcomes(tmp_path / "file" / "outcomes.jsonl").add(outcome("dec_0"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutcomesUnavailable, match="Is a directory"):
        await FileOutcomes(tmp_path / "folder").add(outcome("dec_0"))
    with pytest.raises(OutcomesUnavailable, match="Is a directory"):
        await ids(tmp_path / "folder")


async def test_the_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    plain = os.fsync

    def fsync(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        plain(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "outcomes.jsonl"
    await FileOutcomes(path).add(outcome("dec_0"))
    assert synced == [str(path), str(tmp_path)]  # the first time its name as well
    await FileOutcomes(path).add(outcome("dec_1"))
    assert synced[2:] == [str(path)]

    def fail(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutcomesUnavailable, match="Input/output error"):
        await FileOutcomes(path).add(outcome("dec_2"))


async def test_the_event_loop_goes_on_while_the_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: time.sleep(0.5))
    store = FileOutcomes(tmp_path / "outcomes.jsonl")
    work = asyncio.create_task(store.add(outcome("dec_0")))
    turns = 0
    while not work.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns > 5
