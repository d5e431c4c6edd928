"""The peers' files: a process with another Python is told a task and answers it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.quality.exchange import Reply, Task, read_reply, read_task, write_reply, write_task
from bench.quality.parts import side_by_side
from bench.quality.peers import Peer, PeerFailed
from bench.quality.vectors import Kept
from classifiers import Row
from tests.quality import toy

FAKE = "tests.quality.fake_peer"
ROWS = tuple(Row(line["label"], line["lang"], line["text"]) for line in toy.lines(3, 0))


def peer(tmp_path: Path, *options: str, python: str = sys.executable) -> Peer:
    one = Peer(Kept(toy.Words(), tmp_path), FAKE, options, Path(python))
    one.fit(ROWS)
    return one


def test_a_peer_answers_by_labels(tmp_path: Path) -> None:
    one = peer(tmp_path)
    answers = one.answer([ROWS[0].text, "x y z"])
    assert answers.labels == (ROWS[0].label, None)
    assert answers.confidence.tolist() == pytest.approx([1, 0], abs=1e-6)
    assert answers.outside.tolist() == pytest.approx([0, 1], abs=1e-6)  # no route: nobody is more of a stranger
    assert answers.microseconds == 7
    assert one.notes == {"version": "fake 1", "setup": "the nearest"}


@pytest.mark.parametrize("option", ["--wrong", "--dies"])
def test_a_peer_that_fails_is_named(tmp_path: Path, option: str) -> None:
    with pytest.raises(PeerFailed, match=FAKE):
        peer(tmp_path, option).answer(["one", "two"])


def test_a_python_that_is_not_there_is_named_with_the_way_to_it(tmp_path: Path) -> None:
    with pytest.raises(PeerFailed, match="make \\.venv-peers/\\.ready"):
        peer(tmp_path, python=os.fspath(tmp_path / "python")).answer(["one"])


def test_one_failure_leaves_the_others_their_figures(tmp_path: Path) -> None:
    everybody = {"broken": peer(tmp_path, "--dies"), "whole": peer(tmp_path)}
    found = side_by_side(everybody, ROWS, ROWS)
    assert "failed" in found["broken"]
    assert found["whole"]["summary"]["all"]["accuracy"] == 1


def test_tasks_survive_the_way(tmp_path: Path) -> None:
    vectors = np.eye(3, dtype=np.float32)
    task = Task(("a", "б"), vectors, np.array([0, 1, 1]), vectors[:2])
    write_task(task, tmp_path)
    found = read_task(tmp_path)
    assert found.labels == task.labels
    for name in ("vectors", "targets", "questions"):
        np.testing.assert_array_equal(getattr(found, name), getattr(task, name))


@pytest.mark.parametrize(
    ("chosen", "confidence", "said"),
    [([0], [0.5], "2 questions"), ([0, 2], [0.5, 0.5], "none of the 2 labels"), ([0, 1], [0.5, 1.5], "outside")],
)
def test_a_reply_is_not_believed(tmp_path: Path, chosen: list[int], confidence: list[float], said: str) -> None:
    write_reply(Reply(np.array(chosen), np.array(confidence), 1.0), tmp_path)
    with pytest.raises(ValueError, match=said):
        read_reply(tmp_path, questions=2, labels=2)


def test_no_reply_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no reply"):
        read_reply(tmp_path, questions=1, labels=2)
