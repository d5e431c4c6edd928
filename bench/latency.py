"""What Agoge adds: latency over calling the engine directly, cached and uncached, and requests per second.

`make bench` or `python -m bench.latency [--requests N] [--json]`. A stub engine that answers at once, the router
with its real classifier and its real TGI client, and this load generator are three processes on one machine.
Direct, uncached and cached requests alternate within one run, so that a busy machine slows all three alike.
"Uncached" pays for the encoder on a prompt never seen before; "cached" repeats one prompt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bench.ports import free_port
from router.core.reachable import reachable
from router.policy_file import load_policies

TOPICS = ["Why is the sky blue", "Как подготовиться к марафону", "explain recursion", "рецепт борща", "закон Ома"]
CONCURRENCY = 32
LIMIT_SECONDS = 60.0


@contextmanager
def process(*command: str) -> Iterator[None]:
    """Run a Python module beside us and stop it afterwards."""
    child = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        child.wait(20)


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until `url` answers 200; TimeoutError after a minute and a half."""
    async with asyncio.timeout(90):
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)


async def ask(session: aiohttp.ClientSession, url: str, model: str, text: str) -> float:
    """Return the seconds one whole streamed answer took."""
    started = time.perf_counter()
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
    async with session.post(url, json=body) as response:
        data = await response.read()
        if response.status != 200 or b"[DONE]" not in data:
            raise RuntimeError(f"{url}: {response.status} {data[:200]!r}")
    return time.perf_counter() - started


async def rate(call: Callable[[int], Awaitable[float]], requests: int) -> float:
    """Return requests per second with CONCURRENCY of them in flight."""
    numbers = iter(range(requests))

    async def work() -> None:
        for number in numbers:
            await call(number)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return requests / (time.perf_counter() - started)


def summary(seconds: list[float]) -> dict[str, float]:
    """Return p50 and p95 in milliseconds."""
    cuts = statistics.quantiles(seconds, n=20)
    return {"p50_ms": round(statistics.median(seconds) * 1000, 3), "p95_ms": round(cuts[18] * 1000, 3)}


async def measure(engine: str, agoge: str, model: str, requests: int) -> dict[str, Any]:
    """Measure all three ways in one run."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as session:
        await ready(session, f"{engine}/health")
        await ready(session, f"{agoge}/readyz")
        direct, routed = f"{engine}/v1/chat/completions", f"{agoge}/v1/chat/completions"
        text = "Why is the sky blue?"
        for _ in range(10):
            await ask(session, direct, model, text)
            await ask(session, routed, "auto", text)
        times: dict[str, list[float]] = {"direct": [], "cached": [], "uncached": []}
        until = time.monotonic() + LIMIT_SECONDS
        for number in range(requests):
            fresh = f"{TOPICS[number % len(TOPICS)]} {number}?"
            times["direct"].append(await ask(session, direct, model, text))
            times["cached"].append(await ask(session, routed, "auto", text))
            times["uncached"].append(await ask(session, routed, "auto", fresh))
            if time.monotonic() > until:
                break
        per_second = {
            "direct": await rate(lambda n: ask(session, direct, model, text), requests * 2),
            "cached": await rate(lambda n: ask(session, routed, "auto", text), requests * 2),
            "uncached": await rate(
                lambda n: ask(session, routed, "auto", f"{TOPICS[n % 5]} at {n}"), requests * 2
            ),
        }
    base = statistics.median(times["direct"])
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores shared by engine, router and load generator",
        "load_average": round(os.getloadavg()[0], 2),
        "requests": len(times["direct"]),
        "latency": {way: summary(taken) for way, taken in times.items()},
        "added_p50_ms": {
            way: round((statistics.median(times[way]) - base) * 1000, 3) for way in ("cached", "uncached")
        },
        "requests_per_second": {way: round(value) for way, value in per_second.items()},
        "concurrency": CONCURRENCY,
    }


def main() -> None:
    """Start everything, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.requests < 2:
        parser.error("--requests must be 2 or more: of fewer there is no median")
    policy = Path("policies/default.yaml")
    blends = [blend.id for blend in reachable(load_policies(policy).profile("default", None))]
    engine_port, agoge_port = free_port(), free_port()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        served = folder / "policy.yaml"
        served.write_text(policy.read_text("utf-8").replace("embedded:", "engine"), "utf-8")
        print("starting the stub engine and the router ...", file=sys.stderr, flush=True)
        stack.enter_context(process("bench.stub_engine", str(engine_port)))
        # A stub has nothing to prove, and no route to prove it by.
        address = f"engine=tgi+http://127.0.0.1:{engine_port}?names={','.join(blends)}&canary=off"
        command = ["router.cli", "serve", "--no-log", "--port", str(agoge_port), "--policy", str(served)]
        stack.enter_context(process(*command, "--backend", address))
        told = asyncio.run(
            measure(
                f"http://127.0.0.1:{engine_port}", f"http://127.0.0.1:{agoge_port}", blends[0], options.requests
            )
        )
    if options.json:
        print(json.dumps(told, indent=2))
        return
    print(f"{told['requests']} requests of each kind, alternating; {told['machine']}; load {told['load_average']}")
    for way, figures in told["latency"].items():
        more = told["added_p50_ms"].get(way)
        added = "" if more is None else f"   added p50 {more:.2f} ms"
        rps = told["requests_per_second"][way]
        latency = f"p50 {figures['p50_ms']:8.2f} ms   p95 {figures['p95_ms']:8.2f} ms"
        print(f"  {way:9} {latency}   {rps:6} requests/s{added}")


if __name__ == "__main__":
    main()
