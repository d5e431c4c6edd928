"""What a client library costs per streamed chat call: ours (aiohttp), huggingface_hub, litellm.

    python -m bench.clients [--calls 300] [--words 20]

The engine is the fake TGI of the tests in a process of its own, so the CPU time of this process is the client's.
One process per client, so that imports and garbage of one are not the other's. Each speaks through our backend,
so all three do the same work on the same events. Takes well under a minute on one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection
from statistics import quantiles

from router.core.blend import Blend
from router.core.conversation import Message
from router.core.reply import Delta, Prompt
from router.ports import Backend
from tests.backends.fake_tgi import FakeTgi

BLEND = Blend.of("fake/base-model", {"core": 1.0}, {"core": "./adapters/core"})
CLIENTS = ("aiohttp (ours)", "huggingface_hub", "litellm")


def serve(words: int, pipe: Connection) -> None:
    """Run the fake engine until the pipe closes."""

    async def run() -> None:
        async with FakeTgi(names=["core"], words=words) as fake:
            pipe.send(fake.url)
            await asyncio.to_thread(pipe.poll, None)

    asyncio.run(run())


def backend_of(client: str, url: str) -> Backend:
    """Return the backend that speaks through `client`."""
    if client == "litellm":
        from router.backends.litellm import LitellmBackend

        return LitellmBackend(
            "b", "openai/{blend}", stand_in=False, names=["core"], api_base=f"{url}/v1", api_key="k"
        )
    if client == "huggingface_hub":
        from router.backends.hub import HubBackend

        return HubBackend("b", url, ["core"])
    from router.backends.tgi import TgiBackend

    return TgiBackend("b", url, ["core"])


def measure(client: str, url: str, calls: int, words: int, pipe: Connection) -> None:
    """Send the figures of one client: CPU per call in ms, latencies in ms, peak memory in MB."""

    async def call(backend: Backend) -> float:
        begin, pieces = time.perf_counter(), 0
        async for event in backend.stream(Prompt(BLEND, (Message("user", "hello"),))):
            pieces += isinstance(event, Delta)
        assert pieces == words + 1
        return (time.perf_counter() - begin) * 1e3

    async def run() -> dict[str, float]:
        backend = backend_of(client, url)
        begin = time.perf_counter()
        await call(backend)  # import, connection, caches
        first = time.perf_counter() - begin
        for _ in range(20):
            await call(backend)
        cpu = time.process_time()
        took = [await call(backend) for _ in range(calls)]
        one = (time.process_time() - cpu) * 1e3 / calls
        cpu, begin = time.process_time(), time.perf_counter()
        for _ in range(calls // 32):
            await asyncio.gather(*(call(backend) for _ in range(32)))
        many = (time.process_time() - cpu) * 1e3 / (calls // 32 * 32)
        per_second = calls // 32 * 32 / (time.perf_counter() - begin)
        await backend.aclose()
        cuts = quantiles(took, n=100)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "cpu_ms": one, "p50_ms": cuts[49], "p99_ms": cuts[98], "cpu_ms_32": many, "calls_per_s_32": per_second,
            "first_call_s": first, "peak_mb": peak,
        }  # fmt: skip

    pipe.send(asyncio.run(run()))


def main() -> None:
    """Measure every client and print a table, then the same as one line of JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=300)
    options.add_argument("--words", type=int, default=20)
    chosen = options.parse_args()
    if chosen.calls < 32:
        options.error("--calls must be 32 or more: so many run at once")
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    engine = spawn.Process(target=serve, args=(chosen.words, theirs), daemon=True)
    engine.start()
    url, figures = ours.recv(), {}
    for client in CLIENTS:
        print(f"measuring {client} ...", file=sys.stderr, flush=True)
        answer, question = spawn.Pipe(duplex=False)
        process = spawn.Process(target=measure, args=(client, url, chosen.calls, chosen.words, question))
        process.start()
        question.close()
        figures[client] = answer.recv()
        process.join()
    ours.send(None)
    engine.join(5)
    columns = list(next(iter(figures.values())))
    print("| client | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for client, row in figures.items():
        print(f"| {client} | " + " | ".join(f"{row[column]:.2f}" for column in columns) + " |")
    print(json.dumps({"calls": chosen.calls, "chunks": chosen.words + 1, **figures}))


if __name__ == "__main__":
    main()
