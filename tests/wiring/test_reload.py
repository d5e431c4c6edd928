"""Hot reload: what a changed, broken, deleted or half-written policy file does to a live router."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from router.caches.memory import MemoryCache
from router.core.conversation import Conversation, Message
from router.core.errors import AgogeError
from router.core.facts import PolicyReloaded
from router.core.policy import Policies
from router.core.reply import Delta, Inventory
from router.service import Ask, Router
from router.wiring.addresses import Address
from router.wiring.reload import Loader, PolicyWatch
from router.wiring.settings import Settings, SettingsInvalid
from tests.stage import SECRET, Stage, staged
from tests.stubs import POLICY, Facts, SpeakingBackend, WordScorer, until, write_policy

LIGHTER = POLICY.replace("weight: 0.8, aliases: [физика]", "weight: 0.5, aliases: [физика]")
ONE_BACKEND = POLICY.replace("[first, second]", "[first]")


@dataclass
class Live:
    """A router on stub engines that are made anew each time they are opened."""

    router: Router
    loader: Loader
    watch: PolicyWatch
    facts: Facts
    file: Path
    opened: list[tuple[str, SpeakingBackend]] = field(default_factory=list)
    hangs_after: int | None = None

    def backend(self, name: str) -> SpeakingBackend:
        found = self.router.state.fleet.backends[name]
        assert isinstance(found, SpeakingBackend)
        return found


@asynccontextmanager
async def live(folder: Path, *, hangs_after: int | None = None) -> AsyncIterator[Live]:
    opened: list[tuple[str, SpeakingBackend]] = []
    file = write_policy(folder)
    settings = Settings(policy=file, backends={"first": "stub:1", "second": "stub:2"}, reload_seconds=0.02)

    async def opener(address: Address, policies: Policies, settings: Settings) -> SpeakingBackend:
        if address.spec == "stub:broken":
            raise SettingsInvalid("this engine cannot be opened")
        opened.append((address.name, SpeakingBackend(hangs_after=hangs_after)))
        return opened[-1][1]

    facts, scorer = Facts(), WordScorer()
    loader = Loader(settings, scorer, facts.record, opener)
    router = Router(await loader.load(), scorer, MemoryCache(), SECRET, (facts,))
    watch = PolicyWatch(router, loader, settings)
    running = asyncio.create_task(watch.run())
    yield Live(router, loader, watch, facts, file, opened)
    assert not running.done()  # whatever happened, it is still watching
    running.cancel()
    await watch.aclose()
    await router.state.fleet.aclose()
    assert all(backend.closed for _, backend in opened)


def ask(text: str = "sky") -> Ask:
    return Ask(Conversation((Message("user", text),)))


BAD = {
    "syntax": "version: 1\nadapters: [unclosed",
    "no policy at all": "",
    "not text": "\x00\x01",
    "unknown label": POLICY.replace("label: sport", "label: sports"),
    "missing backend address": POLICY.replace("[first, second]", "[first, third]"),
    "half written": POLICY[: len(POLICY) // 2],
    "an engine that cannot be opened": POLICY.replace("[first, second]", "[first, 'stub:broken']"),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
async def test_a_bad_file_keeps_the_old_policy_and_a_good_one_is_taken_up_again(tmp_path: Path, text: str) -> None:
    async with live(tmp_path) as agoge:
        before = agoge.router.state
        agoge.file.write_text(text, "utf-8")
        await until(lambda: agoge.watch.trouble is not None)
        assert agoge.router.state is before
        assert (await agoge.router.decide(ask())).decision.blend.weights == {"core": 1.0, "physics": 0.8}
        assert not any(backend.closed for _, backend in agoge.opened)
        facts = agoge.facts.of(PolicyReloaded)
        assert facts
        assert all(fact.error and fact.revision == before.policies.revision for fact in facts)
        agoge.file.write_text(LIGHTER, "utf-8")
        await until(lambda: agoge.watch.trouble is None)
        assert (await agoge.router.decide(ask())).decision.blend.weights == {"core": 1.0, "physics": 0.5}


async def test_a_deleted_file_keeps_the_old_policy(tmp_path: Path) -> None:
    async with live(tmp_path) as agoge:
        before = agoge.router.state
        agoge.file.unlink()
        await until(lambda: agoge.watch.trouble is not None)
        assert agoge.router.state is before
        assert str(agoge.file) in (agoge.watch.trouble or "")
        write_policy(tmp_path, LIGHTER)
        await until(lambda: agoge.watch.trouble is None)


async def test_an_editor_that_writes_by_rename_is_seen(tmp_path: Path) -> None:
    async with live(tmp_path) as agoge:
        before = agoge.router.state.policies.revision
        (tmp_path / "new.yaml").write_text(LIGHTER, "utf-8")
        (tmp_path / "new.yaml").replace(agoge.file)
        await until(lambda: agoge.router.state.policies.revision != before)


async def test_a_rewrite_within_one_clock_tick_is_seen(tmp_path: Path) -> None:
    async with live(tmp_path) as agoge:
        before, stat = agoge.router.state.policies.revision, agoge.file.stat()
        agoge.file.write_text(LIGHTER, "utf-8")  # the same length
        os.utime(agoge.file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert (agoge.file.stat().st_size, agoge.file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        await until(lambda: agoge.router.state.policies.revision != before)


async def test_a_change_between_loading_and_watching_is_seen(tmp_path: Path) -> None:
    file = write_policy(tmp_path)
    settings = Settings(policy=file, backends={"first": "stub:1", "second": "stub:2"}, reload_seconds=0.01)

    async def opener(address: Address, policies: Policies, settings: Settings) -> SpeakingBackend:
        write_policy(tmp_path, LIGHTER)  # while the engine takes its time to load
        return SpeakingBackend()

    scorer = WordScorer()
    loader = Loader(settings, scorer, lambda fact: None, opener)
    router = Router(await loader.load(), scorer, MemoryCache(), SECRET)
    before = router.state.policies.revision
    watching = asyncio.create_task(PolicyWatch(router, loader, settings).run())
    await until(lambda: router.state.policies.revision != before)
    watching.cancel()


@contextmanager
def failing_loader(loader: Loader, error: Exception) -> Iterator[None]:
    original = loader.load

    async def load() -> object:
        loader.stamp = None
        raise error

    loader.load = load  # type: ignore[method-assign, assignment]
    yield
    loader.load = original  # type: ignore[method-assign]


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("x"), RecursionError(), AgogeError("said")])
async def test_the_watch_survives_what_nobody_expected(tmp_path: Path, error: Exception) -> None:
    async with live(tmp_path) as agoge:
        with failing_loader(agoge.loader, error):
            agoge.file.write_text(LIGHTER, "utf-8")
            await until(lambda: agoge.watch.trouble is not None)
            assert ("said" if isinstance(error, AgogeError) else type(error).__name__) in (
                agoge.watch.trouble or ""
            )
        await until(lambda: agoge.watch.trouble is None)


async def test_an_unchanged_backend_is_reused_and_a_dropped_one_closed(tmp_path: Path) -> None:
    async with live(tmp_path) as agoge:
        first, second = agoge.backend("first"), agoge.backend("second")
        agoge.file.write_text(ONE_BACKEND, "utf-8")
        await until(lambda: second.closed)
        assert agoge.backend("first") is first
        assert not first.closed
        agoge.file.write_text(POLICY, "utf-8")
        await until(lambda: "second" in agoge.router.state.fleet.backends)
        assert agoge.backend("first") is first
        assert agoge.backend("second") is not second
        assert [name for name, _ in agoge.opened] == ["first", "second", "second"]


async def test_a_retired_backend_is_closed_only_after_its_streams_end(tmp_path: Path) -> None:
    async with live(tmp_path) as agoge:
        first, second = agoge.backend("first"), agoge.backend("second")
        first.holds = Inventory()  # only the second can answer
        await agoge.router.state.fleet.look()
        routed, reply = await agoge.router.answer(ask())
        assert reply.backend == "second"
        for text in (LIGHTER, ONE_BACKEND):  # the first reload keeps the engine, the second one drops it
            agoge.file.write_text(text, "utf-8")
            await agoge.watch.reload()
        await asyncio.sleep(0.1)
        assert not second.closed
        said = "".join([event.content async for event in reply.events if isinstance(event, Delta)])
        assert said == "core=1.0,physics=0.8 says sky"
        assert routed.policy.adapter("physics").weight == 0.8  # it ended on the state it began with
        await until(lambda: second.closed)


async def test_a_request_that_is_still_being_decided_keeps_its_engines_open(tmp_path: Path) -> None:
    async with live(tmp_path) as agoge:
        scorer, score, go = agoge.router.scorer, agoge.router.scorer.score, asyncio.Event()
        first, second = agoge.backend("first"), agoge.backend("second")
        first.holds = Inventory()
        await agoge.router.state.fleet.look()

        async def slow(text: str) -> object:
            await go.wait()
            return await score(text)

        scorer.score = slow  # type: ignore[method-assign, assignment]
        asking = asyncio.create_task(agoge.router.answer(ask()))
        await asyncio.sleep(0.05)
        agoge.file.write_text(ONE_BACKEND, "utf-8")
        await agoge.watch.reload()
        await asyncio.sleep(0.1)
        assert not second.closed
        go.set()
        _, reply = await asking
        events = [event async for event in reply.events]
        assert events[0] == Delta("core=1.0,physics=0.8 ")
        await until(lambda: second.closed)


async def test_stopping_closes_what_is_still_being_retired(tmp_path: Path) -> None:
    async with live(tmp_path) as agoge:

        def closings() -> list[bool]:
            return [backend.closed for _, backend in agoge.opened]

        agoge.backend("first").holds = Inventory()
        await agoge.router.state.fleet.look()
        _, reply = await agoge.router.answer(ask())
        agoge.file.write_text(ONE_BACKEND, "utf-8")
        await agoge.watch.reload()
        assert closings() == [False, False]
    assert closings() == [True, True]
    await reply.events.aclose()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as made:
        yield made


async def test_health_readiness_and_metrics_say_that_the_file_is_bad(stage: Stage) -> None:
    stage.policy.unlink()
    await stage.watch.reload()
    async with httpx.AsyncClient(base_url=stage.url, timeout=20) as client:
        for path in ("/healthz", "/readyz"):
            told = await client.get(path)
            assert told.status_code == 200
            assert told.json()["policy_stale"] is True
            assert str(stage.policy) in told.json()["policy_error"]
        text = (await client.get("/metrics")).text
    assert "agoge_policy_stale 1.0" in text
    assert 'agoge_policy_reloads_total{outcome="refused"} 1.0' in text


KEYS = "keys:\n  sk-a: { tenant: acme }\n"
TENANT = POLICY + "tenants:\n  acme: { may_ask: [] }\n"


async def test_a_key_whose_profile_is_gone_is_forbidden(tmp_path: Path) -> None:
    async with staged(tmp_path, policy=TENANT, keys=KEYS) as made:
        headers = {"authorization": "Bearer sk-a"}
        payload = {"messages": [{"role": "user", "content": "sky"}]}
        async with httpx.AsyncClient(base_url=made.url, timeout=20, headers=headers) as client:
            assert (await client.post("/v1/chat/completions", json=payload)).status_code == 200
            made.policy.write_text(POLICY, "utf-8")
            await made.watch.reload()
            for method, path in (
                ("POST", "/v1/chat/completions"),
                ("POST", "/v1/decisions"),
                ("GET", "/v1/models"),
                ("GET", "/v1/models/auto"),
            ):
                told = await client.request(method, path, json=payload)
                assert (told.status_code, told.json()["error"]["code"]) == (403, "unknown_profile"), path
