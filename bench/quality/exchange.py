"""What a peer is told and what it answers, as files: it runs in another Python, with packages of its own.

Knows numpy and the standard library alone, so that both sides can import it. No text is passed: a peer gets
vectors, and calls an exemplar by its number.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NONE = -1
EVERY = 1000  # questions between two lines of progress
_TASK, _REPLY = "task.npz", "reply.npz"


@dataclass(frozen=True)
class Task:
    """Exemplars to learn and questions to answer.

    `vectors` (n, dim) and `questions` (m, dim) are float32 unit vectors; `targets` (n,) says which of `labels`
    an exemplar carries.
    """

    labels: tuple[str, ...]
    vectors: NDArray[np.float32]
    targets: NDArray[np.intp]
    questions: NDArray[np.float32]


@dataclass(frozen=True)
class Reply:
    """One answer per question.

    `chosen` (m,) are places in the task's labels, `NONE` for "no route"; `confidence` (m,) is what the peer
    reports for its choice, brought into [0, 1], and 0 where it chose none. `microseconds` is the median time
    for one question. `notes` say which version answered, and how it was set up.
    """

    chosen: NDArray[np.intp]
    confidence: NDArray[np.float64]
    microseconds: float
    notes: dict[str, str] = field(default_factory=dict)


def write_task(task: Task, folder: Path) -> None:
    """Write a task into a folder that exists."""
    np.savez(
        folder / _TASK,
        labels=np.array(task.labels),
        vectors=task.vectors,
        targets=task.targets,
        questions=task.questions,
    )


def read_task(folder: Path) -> Task:
    """Read what `write_task` wrote."""
    with np.load(folder / _TASK) as found:
        labels = tuple(str(label) for label in found["labels"])
        return Task(labels, found["vectors"], found["targets"], found["questions"])


def write_reply(reply: Reply, folder: Path) -> None:
    """Write a reply beside its task."""
    np.savez(
        folder / _REPLY,
        chosen=reply.chosen,
        confidence=reply.confidence,
        microseconds=np.array(reply.microseconds),
        notes=np.array(json.dumps(reply.notes)),
    )


def read_reply(folder: Path, questions: int, labels: int) -> Reply:
    """Read a reply; raises ValueError for one that does not answer every question, or with what is no label."""
    try:
        with np.load(folder / _REPLY) as found:
            reply = Reply(
                found["chosen"].astype(np.intp),
                found["confidence"].astype(np.float64),
                float(found["microseconds"]),
                json.loads(str(found["notes"])),
            )
    except (OSError, KeyError) as error:
        raise ValueError(f"no reply in {folder}: {error}") from error
    if reply.chosen.shape != (questions,) or reply.confidence.shape != (questions,):
        raise ValueError(f"{questions} questions, but {reply.chosen.shape} answers")
    if ((reply.chosen < NONE) | (reply.chosen >= labels)).any():
        raise ValueError(f"an answer is none of the {labels} labels")
    if not ((reply.confidence >= 0) & (reply.confidence <= 1)).all():
        raise ValueError("a confidence lies outside [0, 1]")
    return reply


def tell(who: str, done: int, total: int) -> None:
    """Say on standard error how far a peer is, now and then."""
    if done % EVERY == 0 or done == total:
        print(f"    {who}: {done:,} of {total:,}", file=sys.stderr, flush=True)
