"""`agoge serve` told to stop: nobody new comes in, answers under way go on, what is left in the end is told so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from bench.ports import free_port
from tests.cli.test_serve import NAMES, POLICY, START_SECONDS, agoge
from tests.stubs import until

BODY = {"messages": [{"role": "user", "content": "marker hello"}], "model": "core"}
STREAM = BODY | {"stream": True}
LONG = "60"  # seconds of grace that no test waits for


@dataclass
class Engine:
    """A TGI that says one word, and the rest when it is allowed to; to `silent` prompts it says nothing."""

    asked: int = 0
    left: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    silent: bool = False

    async def chat(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        self.asked += 1
        try:
            if not self.silent:
                await response.write(_chunk({"role": "assistant", "content": "Endure"}))
            while not self.may_end.is_set():
                await asyncio.sleep(0.05)
                await response.write(b": still thinking\n\n")
            await response.write(_chunk({"content": " and act."}, "stop") + b"data: [DONE]\n\n")
        except (ConnectionError, asyncio.CancelledError):
            self.left += 1
        return response


def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "", "object": "chat.completion.chunk", "created": 1, "model": "core", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def _well(request: web.Request) -> web.Response:
    return web.Response()


@dataclass
class Live:
    """A server, its engine, and a client of it."""

    process: asyncio.subprocess.Process
    engine: Engine
    url: str
    admin: str
    client: httpx.AsyncClient

    async def end(self) -> str:
        """Wait for its end, which must be a good one; return what it logged."""
        _, error = await asyncio.wait_for(self.process.communicate(), 60)
        assert self.process.returncode == 0, error.decode()
        assert b"Traceback" not in error
        assert b"marker" not in error
        return error.decode()


@asynccontextmanager
async def serving(folder: Path, data: Path, grace: str) -> AsyncIterator[Live]:
    """Serve the policy on such an engine."""
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    engine, app = Engine(), web.Application()
    app.router.add_get("/health", _well)
    app.router.add_post("/v1/chat/completions", engine.chat)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port, admin = free_port(), free_port()
    address = f"tgi+http://127.0.0.1:{runner.addresses[0][1]}?{NAMES}&canary=off"
    process = await agoge(
        *("--policy", str(folder / "policy.yaml"), "--data", str(data), "--port", str(port)),
        *("--admin", f"127.0.0.1:{admin}", "--grace", grace, "--backend", f"primary={address}"),
    )
    async with httpx.AsyncClient(timeout=60) as client:
        live = Live(process, engine, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}", client)
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    assert process.returncode is None, (await process.communicate())[1].decode()
                    with contextlib.suppress(httpx.TransportError):
                        await client.get(f"{live.url}/healthz")
                        break
                    await asyncio.sleep(0.1)
            yield live
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await runner.cleanup()


async def draining(live: Live) -> None:
    """Wait until it takes no connections; operators are still told, and that it is not ready."""
    async with asyncio.timeout(20):
        while True:
            async with httpx.AsyncClient(timeout=20) as other:
                try:
                    await other.get(f"{live.url}/healthz")
                except httpx.ConnectError:
                    ready = await other.get(f"{live.admin}/readyz")
                    assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
                    assert (await other.get(f"{live.admin}/metrics")).status_code == 200
                    return
                except httpx.TransportError:
                    pass  # it came in while the door was being closed
            await asyncio.sleep(0.02)


async def test_an_answer_under_way_ends_whole_and_nobody_new_comes_in(tmp_path: Path, data: Path) -> None:
    async with serving(tmp_path, data, LONG) as live:
        async with live.client.stream(
            "POST", f"{live.url}/v1/chat/completions", json=BODY | {"stream": True}
        ) as got:
            await until(lambda: live.engine.asked == 1)
            live.process.send_signal(signal.SIGTERM)
            await draining(live)
            live.engine.may_end.set()
            text = (await got.aread()).decode()
        assert " and act." in text
        assert '"finish_reason":"stop"' in text
        assert text.endswith("data: [DONE]\n\n")
        assert '"BackendAnswered"' in await live.end()


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
async def test_a_stream_that_outlives_its_grace_is_told_so(tmp_path: Path, data: Path, path: str) -> None:
    body = {"model": "core", "stream": True} | (
        {"input": "marker"} if path == "responses" else {"messages": BODY["messages"]}
    )
    async with serving(tmp_path, data, "0.5") as live:
        async with live.client.stream("POST", f"{live.url}/v1/{path}", json=body) as got:
            await until(lambda: live.engine.asked == 1)
            live.process.send_signal(signal.SIGTERM)
            text = (await got.aread()).decode()
        assert "Endure" in text
        assert '"code":"server_stopping"' in text
        assert "the server is stopping and cannot finish this answer; ask again" in text
        if path == "chat/completions":
            assert text.endswith("data: [DONE]\n\n")
        facts = await live.end()
        assert '"Abandoned"' in facts
        assert "BackendAttemptFailed" not in facts  # the engine is not at fault
        await until(lambda: live.engine.left == 1)


@pytest.mark.parametrize("silent", [True, False])
async def test_a_whole_answer_that_outlives_its_grace_is_a_503(tmp_path: Path, data: Path, silent: bool) -> None:
    async with serving(tmp_path, data, "0.5") as live:
        live.engine.silent = silent
        asking = asyncio.create_task(live.client.post(f"{live.url}/v1/chat/completions", json=BODY))
        await until(lambda: live.engine.asked == 1)
        live.process.send_signal(signal.SIGTERM)
        answer = await asking
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "server_stopping")
        assert answer.headers["x-should-retry"] == "true"
        await live.end()
        await until(lambda: live.engine.left == 1)


async def test_a_second_signal_does_not_wait(tmp_path: Path, data: Path) -> None:
    async with serving(tmp_path, data, LONG) as live:
        async with live.client.stream("POST", f"{live.url}/v1/chat/completions", json=STREAM):
            await until(lambda: live.engine.asked == 1)
            live.process.send_signal(signal.SIGINT)
            await draining(live)
            live.process.send_signal(signal.SIGINT)
            await live.end()
        await until(lambda: live.engine.left == 1)
