"""Overload over HTTP: who is refused and how, and that a place comes free however an answer ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from router.core.errors import BackendBroken
from router.core.facts import Occupied, RequestRefused
from router.core.reply import Inventory
from tests.stage import Stage, staged
from tests.stubs import POLICY, SpeakingBackend, until

NARROW = POLICY + "capacity: { first: { at_once: 1, queue: 1, wait: 30 }, second: { at_once: 1, queue: 0 } }\n"
ONLY_FIRST = NARROW.replace("[first, second]", "[first]").replace(", second: { at_once: 1, queue: 0 }", "")


Answer = asyncio.Task[httpx.Response]


@asynccontextmanager
async def asked(
    folder: Path, policy: str, **engines: SpeakingBackend
) -> AsyncIterator[tuple[Stage, httpx.AsyncClient]]:
    async with staged(folder, policy=policy, backends=engines) as stage, httpx.AsyncClient() as client:
        yield stage, client


def asking(client: httpx.AsyncClient, stage: Stage, content: str = "sky", **more: Any) -> Answer:
    body = {"messages": [{"role": "user", "content": content}], **more}
    return asyncio.create_task(client.post(f"{stage.url}/v1/chat/completions", json=body, timeout=30))


def load(stage: Stage, backend: str = "first") -> tuple[int, int]:
    """Return how many answers the backend gives, and how many wait for it."""
    last = [fact for fact in stage.facts.of(Occupied) if fact.backend == backend][-1:]
    return (last[0].in_use, last[0].waiting) if last else (0, 0)


async def test_beyond_the_queue_an_openai_client_hears_when_to_come_back(tmp_path: Path) -> None:
    first = SpeakingBackend(hangs_after=1)
    async with (
        staged(tmp_path, policy=ONLY_FIRST, backends={"first": first}) as stage,
        httpx.AsyncClient() as client,
    ):
        held = [asking(client, stage), asking(client, stage)]
        await until(lambda: load(stage) == (1, 1))
        scored = stage.scorer.calls
        refused = await asking(client, stage, "marathon")
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["code"], error["type"]) == ("overloaded", "rate_limit_error")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-should-retry"] == "true"
        assert stage.scorer.calls == scored, "nothing is computed for who is refused"
        with pytest.raises(openai.RateLimitError):
            await openai.AsyncOpenAI(
                base_url=f"{stage.url}/v1", api_key="x", max_retries=0
            ).chat.completions.create(model="auto", messages=[{"role": "user", "content": "sky"}])
        metrics = (await client.get(f"{stage.url}/metrics")).text
        assert 'agoge_slots_in_use{backend="first"} 1.0' in metrics
        assert 'agoge_queue_depth{backend="first"} 1.0' in metrics
        assert 'agoge_refused_total{code="overloaded",status="429"} 2.0' in metrics
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        await until(lambda: load(stage) == (0, 0))
        assert first.open_streams == 0


async def test_a_full_backend_is_passed_over_for_the_next_until_it_has_a_place(
    tmp_path: Path,
) -> None:
    engines = {"first": SpeakingBackend(hangs_after=1), "second": SpeakingBackend()}
    async with asked(tmp_path, NARROW, **engines) as (stage, client):
        held = asking(client, stage)
        await until(lambda: load(stage) == (1, 0))
        assert (await asking(client, stage)).headers["x-agoge-backend"] == "second"
        held.cancel()
        await until(lambda: load(stage) == (0, 0))
        engines["first"].hangs_after = None
        assert (await asking(client, stage)).headers["x-agoge-backend"] == "first"


async def test_isolated_speech_waits_for_its_own_engine_while_a_stand_in_is_free(tmp_path: Path) -> None:
    engines = {"first": SpeakingBackend(hangs_after=1), "second": SpeakingBackend(holds=Inventory(stand_in=True))}
    async with asked(tmp_path, NARROW, **engines) as (stage, client):
        held = asking(client, stage)
        await until(lambda: load(stage) == (1, 0))
        assert (await asking(client, stage)).headers["x-agoge-stand-in"] == "true"  # as when an engine says 429
        alone = asking(client, stage, model="academic")
        await until(lambda: load(stage) == (1, 1))
        refused = await asking(client, stage, model="academic")
        assert refused.json()["error"]["code"] == "overloaded"
        assert len(engines["second"].prompts) == 1
        engines["first"].hangs_after = None
        held.cancel()
        answered = await alone
        assert answered.headers["x-agoge-backend"] == "first"
        assert answered.json()["agoge"]["adapters"] == {"academic": 1.0}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("after", [None, 0, 1])
async def test_a_place_comes_free_when_an_answer_ends_or_breaks(
    tmp_path: Path, stream: bool, after: int | None
) -> None:
    first = SpeakingBackend()
    if after is not None:
        first.fails, first.fails_after = BackendBroken("broke"), after
    async with (
        staged(tmp_path, policy=ONLY_FIRST, backends={"first": first}) as stage,
        httpx.AsyncClient() as client,
    ):
        for _ in range(3):
            await asking(client, stage, stream=stream)
            await until(lambda: load(stage) == (0, 0))
        assert max(fact.in_use for fact in stage.facts.of(Occupied)) == 1


async def test_a_client_that_leaves_while_it_waits_leaves_the_queue(tmp_path: Path) -> None:
    first = SpeakingBackend(hangs_after=1)
    async with (
        staged(tmp_path, policy=ONLY_FIRST, backends={"first": first}) as stage,
        httpx.AsyncClient() as client,
    ):
        held, gone = asking(client, stage), asking(client, stage, stream=True)
        await until(lambda: load(stage) == (1, 1))
        gone.cancel()
        await until(lambda: load(stage) == (1, 0))
        stays = asking(client, stage)
        await until(lambda: load(stage) == (1, 1))
        first.hangs_after = None
        held.cancel()
        assert (await stays).status_code == 200
        assert len(first.prompts) == 2
        assert stage.facts.of(RequestRefused) == []


async def test_a_reload_gives_more_places_to_those_who_wait(tmp_path: Path) -> None:
    first = SpeakingBackend(hangs_after=1)
    async with (
        staged(tmp_path, policy=ONLY_FIRST, backends={"first": first}) as stage,
        httpx.AsyncClient() as client,
    ):
        held = [asking(client, stage), asking(client, stage)]
        await until(lambda: load(stage) == (1, 1))
        stage.policy.write_text(ONLY_FIRST.replace("at_once: 1", "at_once: 2"), "utf-8")
        await stage.watch.reload()
        await until(lambda: load(stage) == (2, 0))
        for task in held:
            task.cancel()
        await until(lambda: load(stage) == (0, 0))
