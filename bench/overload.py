"""Overload: what five times the full load does to those who get an answer, and what the others hear.

`python -m bench.overload [--slots 8] [--service 1] [--seconds 20] [--out FILE]`. An engine with a fixed number of
slots and a fixed service time, the router with its real classifier and TGI client, and this load generator are
three processes on one machine. Requests come evenly spaced and wait for nobody: at the full load, exactly as many
as the engine can serve; then five times as many. Exit code 1 when the contract is broken: accepted requests are at
most twice as slow (p99) as at the full load, and every refusal is a 429 with Retry-After.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.asking import TOPICS, process, ready
from bench.ports import free_port
from router.core.reachable import reachable
from router.policy_file import load_policies

OVERLOAD = 5
MOST_SLOWER = 2.0
KEYS = 3  # prompts per topic: some decisions come out of the cache, as in life


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: status, seconds, and Retry-After if there was one."""

    status: int
    seconds: float
    retry_after: str | None


async def ask(session: aiohttp.ClientSession, url: str, text: str) -> Answer:
    """Send one streamed request and read its answer to the end."""
    started = time.perf_counter()
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], "stream": True}
    async with session.post(url, json=body) as response:
        data = await response.read()
        status = response.status
        if status == 200 and b"[DONE]" not in data:
            status = 0  # an answer without an end is none
        return Answer(status, time.perf_counter() - started, response.headers.get("retry-after"))


async def load(session: aiohttp.ClientSession, url: str, per_second: float, seconds: float) -> list[Answer]:
    """Send requests evenly spaced for so long, whatever becomes of them; return all answers."""
    loop, tasks = asyncio.get_running_loop(), list[asyncio.Task[Answer]]()
    began = loop.time()
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(0.0, began + number / per_second - loop.time()))
        text = f"{TOPICS[number % len(TOPICS)]} {number // len(TOPICS) % KEYS}?"
        tasks.append(asyncio.create_task(ask(session, url, text)))
    return list(await asyncio.gather(*tasks))


def quantile(seconds: list[float], share: float) -> float:
    """Return the smallest value that `share` of all do not exceed, in milliseconds; 0 of none."""
    ordered = sorted(seconds)
    return round(ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)] * 1000, 1) if ordered else 0.0


def summary(answers: list[Answer], seconds: float) -> dict[str, Any]:
    """Return what one load did."""
    accepted = [each.seconds for each in answers if each.status == 200]
    refused = [each for each in answers if each.status == 429]
    return {
        "requests": len(answers),
        "accepted_per_second": round(len(accepted) / seconds, 1),
        "p50_ms": quantile(accepted, 0.5),
        "p99_ms": quantile(accepted, 0.99),
        "refused_share": round(len(refused) / len(answers), 3),
        "refused_p99_ms": quantile([each.seconds for each in refused], 0.99),
        "refused_without_retry_after": sum(each.retry_after is None for each in refused),
        "neither": len(answers) - len(accepted) - len(refused),
    }


async def measure(engine: str, agoge: str, slots: int, service: float, seconds: float) -> dict[str, Any]:
    """Measure the full load, then the overload."""
    url, told = f"{agoge}/v1/chat/completions", dict[str, Any]()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
        await ready(session, f"{engine}/health")
        await ready(session, f"{agoge}/readyz")
        await load(session, url, slots / service / 2, 4 * service)  # warm
        for name, times in (("full", 1), (f"{OVERLOAD}x", OVERLOAD)):
            told[name] = summary(await load(session, url, times * slots / service, seconds), seconds)
        async with session.get(f"{engine}/most") as response:
            most = (await response.json())["most"]
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores shared by engine, router and load generator",
        "load_average": round(os.getloadavg()[0], 2),
        "slots": slots,
        "service_ms": round(service * 1000),
        **told,
        "most_in_engine": most,
        "p99_ratio": round(told[f"{OVERLOAD}x"]["p99_ms"] / told["full"]["p99_ms"], 2),
    }


def broken(told: dict[str, Any]) -> list[str]:
    """Return what of the contract does not hold."""
    over = told[f"{OVERLOAD}x"]
    found = {
        f"p99 of accepted requests is {told['p99_ratio']} times its value at full load": told["p99_ratio"]
        > MOST_SLOWER,
        "a refusal had no Retry-After": over["refused_without_retry_after"] > 0,
        "a request was neither answered nor refused with 429": over["neither"] + told["full"]["neither"] > 0,
        "the engine was sent more than it has slots": told["most_in_engine"] > told["slots"],
    }
    return [what for what, wrong in found.items() if wrong]


def main() -> None:
    """Start everything, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--service", type=float, default=1.0, help="seconds that an answer takes")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each load lasts")
    parser.add_argument("--out", type=Path, default=Path(".agoge/overload.json"))
    options = parser.parse_args()
    policy = Path("policies/default.yaml")
    blends = [blend.id for blend in reachable(load_policies(policy).profile("default", None))]
    engine_port, agoge_port = free_port(), free_port()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        served = folder / "policy.yaml"
        text = policy.read_text("utf-8").replace("embedded:", "engine")
        served.write_text(f"{text}\ncapacity: {{ engine: {{ at_once: {options.slots} }} }}\n", "utf-8")
        print("starting the engine and the router ...", file=sys.stderr, flush=True)
        stack.enter_context(
            process("bench.slotted_engine", str(engine_port), str(options.slots), str(options.service))
        )
        address = f"engine=tgi+http://127.0.0.1:{engine_port}?names={','.join(blends)}&canary=off"
        command = ["router.cli", "serve", "--no-log", "--port", str(agoge_port), "--policy", str(served)]
        stack.enter_context(process(*command, "--backend", address))
        engine, agoge = f"http://127.0.0.1:{engine_port}", f"http://127.0.0.1:{agoge_port}"
        told = asyncio.run(measure(engine, agoge, options.slots, options.service, options.seconds))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    print(f"{told['slots']} slots of {told['service_ms']} ms; {told['machine']}; load {told['load_average']}")
    for name in ("full", f"{OVERLOAD}x"):
        one = told[name]
        print(
            f"  {name:5} p50 {one['p50_ms']:7.1f} ms   p99 {one['p99_ms']:7.1f} ms   "
            f"{one['accepted_per_second']:6.1f} answers/s   refused {one['refused_share']:.1%} "
            f"(p99 {one['refused_p99_ms']:.1f} ms)"
        )
    print(f"  p99 at {OVERLOAD}x is {told['p99_ratio']} times that at full load; written to {options.out}")
    if wrong := broken(told):
        sys.exit("broken: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
