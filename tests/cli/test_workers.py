"""`agoge serve --workers 2` as processes: one port, one metrics page, one memory of decisions, one end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.ports import free_port
from tests.caches.servers import Server, binaries
from tests.cli.test_serve import POLICY, START_SECONDS, agoge, engine, refused
from tests.stubs import until

SECRET = {"AGOGE_CACHE_SECRET": "0123456789abcdef"}
CORE = {"messages": [{"role": "user", "content": "marker hello"}], "model": "core"}


@dataclass
class Live:
    """A command with two workers."""

    process: asyncio.subprocess.Process
    url: str
    admin: str
    log: Path

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def said(self) -> str:
        return self.log.read_text("utf-8")


@asynccontextmanager
async def two_workers(folder: Path, data: Path, *options: str) -> AsyncIterator[Live]:
    """Serve with two workers that share a real server of decisions; nothing of it is left afterwards."""
    file = folder / "policy.yaml"
    file.write_text(POLICY, "utf-8")
    port, admin = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="agoge-") as short:
        server = Server(binaries()["valkey"], Path(short))
        server.start()
        with (folder / "log").open("wb") as log:
            process = await agoge(
                *("--policy", str(file), "--data", str(data), "--port", str(port), "--workers", "2"),
                *("--admin", f"127.0.0.1:{admin}", "--cache", f"{server.unix_url}?timeout=5", *options),
                stderr=log,
                **SECRET,
            )
        live = Live(process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}", folder / "log")
        children: list[psutil.Process] = []
        try:
            await until(lambda: "with 2 workers" in live.said() or process.returncode is not None, START_SECONDS)
            assert process.returncode is None, live.said()
            children = live.workers()
            yield live
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            server.kill()


async def fresh(method: str, url: str, **more: object) -> httpx.Response:
    """Ask on a connection of its own: any worker may get it."""
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.request(method, url, **more)  # type: ignore[arg-type]


async def heard(live: Live) -> None:
    """Wait until whoever is there answers: the kernel closes a killed worker's socket with its last thread."""
    async with asyncio.timeout(1):
        while True:
            with contextlib.suppress(httpx.TransportError):
                assert (await fresh("GET", f"{live.url}/healthz")).status_code == 200
                return
            await asyncio.sleep(0.01)


async def counted(live: Live, name: str) -> float:
    text = (await fresh("GET", f"{live.admin}/metrics")).text
    families = text_string_to_metric_families(text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


async def test_two_workers_are_one_server(tmp_path: Path, data: Path) -> None:
    async with engine() as (address, _), two_workers(tmp_path, data, "--backend", f"primary={address}") as live:
        assert len(live.workers()) == 2

        # both take connections
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(httpx.AsyncClient(timeout=60)) for _ in range(40)]
            assert {(await client.get(f"{live.url}/healthz")).status_code for client in clients} == {200}
            shares = [
                sum(each.status == psutil.CONN_ESTABLISHED for each in worker.net_connections("tcp4"))
                for worker in live.workers()
            ]
            assert min(shares) > 4, shares  # of 40 connections, fewer than one time in a million

        # whoever took a decision, everybody tells it and takes feedback on it
        taken = [await fresh("POST", f"{live.url}/v1/decisions", json={"input": f"marker {n}"}) for n in range(8)]
        ids = [answer.headers["x-agoge-decision-id"] for answer in taken]
        for id, answer in zip(ids, taken, strict=True):
            told = await fresh("GET", f"{live.url}/v1/decisions/{id}")
            assert told.status_code == 200, told.text
            assert told.json()["explanation"] == answer.json()["explanation"]
            assert [near["text"] for near in told.json()["nearest"]] == [
                near["text"] for near in answer.json()["nearest"]
            ]
        found = [await fresh("GET", f"{live.url}/v1/decisions/{ids[0]}") for _ in range(8)]
        assert [answer.status_code for answer in found] == [200] * 8

        # one page of metrics, the same from both, apart from the API
        assert [await counted(live, "agoge_decisions_total") for _ in range(6)] == [8.0] * 6
        assert await counted(live, "agoge_decision_seconds_count") == 8.0
        assert await counted(live, "agoge_policy_stale") == 0.0
        assert await counted(live, "agoge_policy_info") == 1.0
        for path in ("/metrics", "/docs", "/openapi.json"):
            assert (await fresh("GET", live.url + path)).status_code == 404
            assert (await fresh("GET", live.admin + path)).status_code == 200
        assert "/v1/chat/completions" in (await fresh("GET", f"{live.admin}/openapi.json")).json()["paths"]
        assert (await fresh("POST", f"{live.admin}/v1/decisions", json={"input": "hi"})).status_code == 404

        # no worker holds more than 300 MB, of which the encoder's weights are one file for both
        for worker in live.workers():
            assert worker.memory_info().rss < 300_000_000
            assert any(each.path.endswith(".ort") for each in worker.memory_maps())

        # a worker that dies is started again, counts on, and the other one serves meanwhile
        dead, alive = live.workers()
        dead.kill()
        await until(lambda: not dead.is_running() or dead.status() == psutil.STATUS_ZOMBIE)
        await heard(live)
        assert "serves again" not in live.said()
        await until(lambda: "serves again" in live.said(), START_SECONDS)
        assert "was ended by SIGKILL; it is started again in 0.5 s" in live.said()
        assert alive in live.workers()
        assert len(live.workers()) == 2
        assert await counted(live, "agoge_decisions_total") == 8.0

        workers = live.workers()
        live.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(live.process.wait(), 60) == 0, live.said()
        assert not any(worker.is_running() for worker in workers)
        assert "Traceback" not in live.said()
        assert "Warning" not in live.said()
        assert "marker" not in live.said()
        with pytest.raises(httpx.ConnectError):
            await fresh("GET", f"{live.url}/healthz")


async def test_workers_do_not_outlive_whoever_looks_after_them(tmp_path: Path, data: Path) -> None:
    async with engine() as (address, _), two_workers(tmp_path, data, "--backend", f"primary={address}") as live:
        workers = live.workers()
        live.process.kill()
        await live.process.wait()
        await until(lambda: not any(worker.is_running() for worker in workers), 60)


async def test_kill_9_loses_no_feedback_that_was_acknowledged(tmp_path: Path, data: Path) -> None:
    kept = tmp_path / "outcomes.jsonl"
    options = ("--outcomes", str(kept), "--no-log")
    async with (
        engine() as (address, _),
        two_workers(tmp_path, data, "--backend", f"primary={address}", *options) as live,
    ):
        answer = await fresh("POST", f"{live.url}/v1/decisions", json={"input": "marker"})
        body = {"decision_id": answer.headers["x-agoge-decision-id"], "verdict": "right"}
        acknowledged: list[str] = []
        enough = asyncio.Event()

        async def send(sender: int) -> None:
            async with httpx.AsyncClient(timeout=60) as client:
                for number in range(10_000):
                    text = f"{sender}-{number}"
                    try:
                        done = await client.post(f"{live.url}/v1/feedback", json=body | {"text": text})
                    except httpx.TransportError:
                        return
                    assert done.status_code == 201, done.text
                    acknowledged.append(text)
                    if len(acknowledged) >= 150:
                        enough.set()

        sending = [asyncio.create_task(send(sender)) for sender in range(12)]
        await asyncio.wait_for(enough.wait(), 120)
        for process in (*live.workers(), live.process):
            process.kill()
        await asyncio.gather(*sending)

        lines = kept.read_text("utf-8").splitlines()
        whole = [json.loads(line)["text"] for line in lines if line.endswith("}")]
        assert set(acknowledged) <= set(whole)
        assert len(lines) - len(whole) <= 2  # what the kill tore: one line of each worker's at most
        assert len(whole) == len(set(whole))


@pytest.mark.parametrize("cache", ["memory:", "none:"])
async def test_workers_without_a_common_memory_are_refused(cache: str) -> None:
    said = await refused("--port", "0", "--workers", "2", "--cache", cache, **SECRET)
    assert "--workers 2 needs a cache that all of them see" in said
    assert "--cache redis://HOST:PORT/DB" in said
    assert "classifier" not in said


async def test_a_bad_policy_is_said_once(tmp_path: Path, data: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.replace("label: sport,", "label: sports,"), "utf-8")
    said = await refused(
        *("--policy", str(file), "--data", str(data), "--port", "0", "--workers", "3"),
        *("--cache", "redis://127.0.0.1:1/0", "--backend", "primary=litellm:x/y"),
        **SECRET,
    )
    assert said.count("agoge: ") == 1
    assert said.count("'sports'") == 1


async def test_a_taken_port_is_said_once_and_early() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        cache = ("--workers", "2", "--cache", "redis://127.0.0.1:1/0")
        said = await refused("--port", port, *cache, **SECRET)
        assert said.count(f"cannot listen on 127.0.0.1:{port} (Address already in use)") == 1
        said = await refused("--port", "0", "--admin", f"127.0.0.1:{port}", *cache, **SECRET)
        assert f"cannot listen on 127.0.0.1:{port} (Address already in use)" in said
        assert "try another port behind --admin" in said
