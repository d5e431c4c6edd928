"""Doubles of the ports, with the real spine between them: a scorer of words, an engine that says who speaks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import uvicorn
from fastapi import FastAPI

from router.cli.connections import ConnectionLimits, limited
from router.core.errors import BackendFailed, BlendUnavailable
from router.core.facts import Fact
from router.core.reply import Delta, Event, Finish, Inventory, Prompt, Usage
from router.core.scores import Neighbour, Scores

F = TypeVar("F")

POLICY = """\
version: 1
base: some/base
adapters:
  core:     { from: ./core,     when: always, aliases: [агоге, ядро] }
  physics:  { from: ./physics,  when: { label: physics, at_least: 0.5 }, weight: 0.8, aliases: [физика] }
  sport:    { from: ./sport,    when: { label: sport, at_least: 0.5 }, weight: 0.8, aliases: [спорт] }
  academic: { from: ./academic, when: asked, alone: true, aliases: [академический] }
compose: { at_most: 2 }
backends: [first, second]
"""
TENANTS = POLICY + "tenants: { clinic: { compose: { at_most: 1 } } }\nroles: { editor: {} }\n"
KEYS = """\
keys:
  sk-plain: { tenant: default }
  sk-plain-too: { tenant: default }
  sk-editor: { tenant: default, role: editor }
  sk-clinic: { tenant: clinic }
"""


@dataclass
class WordScorer:
    """Scores 0.9 for the label whose word is in the text; counts its calls."""

    words: dict[str, str] = field(
        default_factory=lambda: {"sky": "physics", "неб": "physics", "marathon": "sport", "марафон": "sport"}
    )
    fingerprint: str = "words-1"
    near: list[Neighbour] = field(default_factory=lambda: [Neighbour("why is the sky blue", "physics", 0.75)])
    calls: int = 0

    @property
    def labels(self) -> frozenset[str]:
        return frozenset({*self.words.values(), "general"})

    async def score(self, text: str) -> Scores:
        self.calls += 1
        found = next((label for word, label in self.words.items() if word in text.lower()), "general")
        rest = 0.1 / (len(self.labels) - 1)
        values = {label: 0.9 if label == found else rest for label in self.labels}
        return Scores(values, nearest=tuple(self.near))

    async def nearest(self, text: str, count: int) -> Sequence[Neighbour]:
        return self.near[:count]


@dataclass
class SpeakingBackend:
    """Answers `<blend> says <last user text>` in pieces; can be told to fail, to hang, or to be down."""

    holds: Inventory = field(
        default_factory=lambda: Inventory(sums=frozenset({"core", "physics", "sport", "academic"}))
    )
    fails: BackendFailed | None = None
    fails_after: int | None = None
    hangs_after: int | None = None
    down: BackendFailed | None = None
    events: list[Event] | None = None
    prompts: list[Prompt] = field(default_factory=list)
    open_streams: int = 0
    closed: bool = False

    async def inventory(self) -> Inventory:
        if self.down is not None:
            raise self.down
        return self.holds

    async def stream(self, prompt: Prompt) -> AsyncIterator[Event]:
        if not self.holds.serves(prompt.blend):
            raise BlendUnavailable(f"{prompt.blend.id} reached an engine that does not hold it")
        self.prompts.append(prompt)
        self.open_streams += 1
        try:
            said = [Delta(f"{prompt.blend} "), Delta("says "), Delta(prompt.messages[-1].text)]
            for index, event in enumerate(self.events or [*said, Finish("stop"), Usage(7, 3)]):
                if self.fails is not None and index == (self.fails_after or 0):
                    raise self.fails
                if self.hangs_after is not None and index == self.hangs_after:
                    await asyncio.Event().wait()
                yield event
        finally:
            self.open_streams -= 1

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class Facts:
    """A sink that remembers."""

    seen: list[Fact] = field(default_factory=list)

    def record(self, fact: Fact) -> None:
        self.seen.append(fact)

    def of(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.seen if isinstance(fact, kind)]


@asynccontextmanager
async def listening(app: FastAPI, parser: Literal["auto", "h11", "httptools"] = "auto") -> AsyncIterator[str]:
    """Serve `app` as `agoge serve` does, with a real uvicorn on a loopback port; yields its address.

    `parser`: who reads its HTTP.
    """
    with socket.socket(proto=socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            http=limited(ConnectionLimits(), parser=parser),
            ws="none",
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


def write_policy(folder: Path, text: str = POLICY) -> Path:
    """Write a policy file into `folder` and return its path."""
    file = folder / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    return file


async def until(condition: object, seconds: float = 10.0) -> None:
    """Wait until `condition()` is true; AssertionError when it does not become so in time."""
    assert callable(condition)
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"did not happen within {seconds} s")
