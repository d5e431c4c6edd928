"""Requests per second on one core and the CPU each costs, beside a real LiteLLM proxy and semantic-router.

`python -m bench.speed.rate [--rounds N] [--seconds S] [--peers FOLDER] [--json FILE]`. Each server may use one
core and is kept busy over 16 connections; load, stub engine and embeddings share the rest. All take turns in
every round, on the same engine, with the same whole answers; what the load and the stub can do on their own
stands beside. Prompts have 12 tokens. "Cached" repeats one; for all others each is new, so that the auto-router
embeds it, too.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from statistics import median

from bench.ports import free_port
from bench.speed import libraries, peers
from bench.speed.beside import Ask, beside
from bench.speed.command import run, say
from bench.speed.figures import Figures, over, percentile, shown
from bench.speed.litellm_proxy import litellm
from bench.speed.load import Caller, LoadFailed, chat, pressed
from bench.speed.processes import Served, agoge, apart, process, stub_engine
from bench.speed.prompts import Prompts

CONNECTIONS = 16
TOKENS = 12
MOST = 3_000  # new prompts a second, more than any of these systems takes
ARTEFACT = Path(".agoge/classifier")
KNOWN = "Why is the sky blue?"


@dataclass(frozen=True)
class System:
    """One way to an answer. `fresh`: every prompt is a new one. `stream`: the answer comes as events."""

    name: str
    served: Served
    model: str
    fresh: bool
    stream: bool = False

    def requests(self, prompts: Iterator[str]) -> Iterator[bytes]:
        """Yield requests without end; those of a system that is asked the same are one."""
        if not self.fresh:
            return repeat(chat(self.served.url, self.model, KNOWN, stream=self.stream))
        return (chat(self.served.url, self.model, text, stream=self.stream) for text in prompts)


def measure(options: argparse.Namespace) -> Figures:
    """Measure all systems in turn."""
    core, rest = apart()
    if rest is not None:
        os.sched_setaffinity(0, rest)
    prompts = Prompts(seed=2)
    with ExitStack() as stack:
        engine = stack.enter_context(stub_engine(cores=rest))
        ours = stack.enter_context(agoge(engine.url, cores=core))
        systems = [
            System("the stub engine itself", engine, "core", False),
            System("Agoge, cached", ours, "auto", False),
            System("Agoge, uncached", ours, "auto", True),
            System("Agoge, cached, stream", ours, "auto", False, stream=True),
        ]
        proxy = _proxy(stack, engine, options.peers, core, rest)
        if proxy is not None:
            systems += [
                System("LiteLLM, plain", proxy, "core", False),
                System("LiteLLM, plain, stream", proxy, "core", False, stream=True),
                System("LiteLLM, auto-router", proxy, "auto", True),
            ]
        decide = stack.enter_context(
            beside("bench.speed.libraries", str(ARTEFACT), str(options.peers), cores=core)
        )
        say("rate: everything is up, warming")
        ready = [system for system in systems if _warm(system, prompts)]
        rounds: dict[str, list[Figures]] = {system.name: [] for system in ready}
        decisions: dict[str, list[Figures]] = {name: [] for name in libraries.NAMES}
        for _ in range(options.rounds):
            for system in ready:
                rounds[system.name].append(_press(system, prompts, options.seconds))
            _decide(decide, prompts, decisions)
        found = {name: _together(several) for name, several in rounds.items()}
        memory = {"Agoge": _memory(ours), **({} if proxy is None else {"LiteLLM": _memory(proxy)})}
    decided = {
        name: {key: over([one[key] for one in several]) for key in ("cpu_ms", "p50_ms")}
        for name, several in decisions.items()
        if several
    }
    return {"connections": CONNECTIONS, "systems": found, "decisions": decided, "memory": memory}


def _proxy(
    stack: ExitStack, engine: Served, folder: Path, core: list[int] | None, rest: list[int] | None
) -> Served | None:
    if not peers.installed(folder):
        say(f"rate: {folder} does not hold the peers; `make bench` installs them. Agoge alone is measured")
        return None
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["bench.speed.embedder", str(port), str(ARTEFACT)]
    embedder = stack.enter_context(process(command, url, "/health", cores=rest))
    exemplars = ARTEFACT / "exemplars.jsonl"
    return stack.enter_context(litellm(engine.url, embedder.url, exemplars, folder, core))


def _warm(system: System, prompts: Prompts) -> bool:
    """Ask until everything is built; False, and why, where it cannot answer at all."""
    asked = system.requests(prompts.of(TOKENS))
    try:
        with Caller(system.served.url, limit=120) as caller:
            for _, said in zip(range(5), asked, strict=False):
                caller.ask(said)
        pressed(system.served.url, asked, CONNECTIONS, until=time.perf_counter() + 1)
    except (LoadFailed, OSError) as wrong:
        say(f"rate: {system.name} does not answer and is left out: {wrong}")
        return False
    return True


def _press(system: System, prompts: Prompts, seconds: float) -> Figures:
    made = prompts.some(TOKENS, int(MOST * seconds)) if system.fresh else ()  # ahead: the load shall not make them
    asked = system.requests(iter(made))
    cpu, own, started = system.served.cpu(), time.process_time(), time.perf_counter()
    took = pressed(system.served.url, asked, CONNECTIONS, until=started + seconds)
    wall = time.perf_counter() - started
    used = system.served.cpu() - cpu
    return {
        "per_second": len(took) / wall,
        "cpu_ms": used * 1e3 / len(took),
        "busy": used / wall,
        "load_busy": (time.process_time() - own) / wall,
        "p50_ms": percentile([one.whole for one in took], 0.5) * 1e3,
        "p99_ms": percentile([one.whole for one in took], 0.99) * 1e3,
    }


def _decide(ask: Ask, prompts: Prompts, decisions: dict[str, list[Figures]]) -> None:
    for name, found in decisions.items():
        if said := ask(name=name, texts=prompts.some(TOKENS, 200)):
            found.append(said)


def _together(rounds: Sequence[Figures]) -> Figures:
    return {key: over([one[key] for one in rounds]) for key in rounds[0]}


def _memory(served: Served) -> Figures:
    return {"rss_mb": served.rss(), "ready_seconds": served.ready_seconds}


def ratios(found: Figures) -> Figures:
    """Return how many times as many requests a second per core Agoge takes, and how little CPU they cost."""
    systems = found["systems"]
    pairs = (
        ("Agoge, cached", "LiteLLM, plain"),
        ("Agoge, cached, stream", "LiteLLM, plain, stream"),
        ("Agoge, uncached", "LiteLLM, plain"),
        ("Agoge, uncached", "LiteLLM, auto-router"),
        ("Agoge, cached", "LiteLLM, auto-router"),
    )
    return {
        f"{ours} / {theirs}": {
            "per_second": systems[ours]["per_second"]["median"] / systems[theirs]["per_second"]["median"],
            "cpu": systems[theirs]["cpu_ms"]["median"] / systems[ours]["cpu_ms"]["median"],
        }
        for ours, theirs in pairs
        if ours in systems and theirs in systems
    }


def told(found: Figures) -> Sequence[str]:
    """Return what people read."""
    lines = ["requests per second on one core, median of the rounds (least to most)        CPU ms per request"]
    for name, one in found["systems"].items():
        lines.append(f"  {name:24} {shown(one['per_second'], 0):28} {shown(one['cpu_ms'], 3)}")
    busy = median(one["load_busy"]["median"] for one in found["systems"].values())
    lines.append(f"  (the load itself kept {100 * busy:.0f} % of another core busy)")
    lines += [
        f"  {name}: {one['per_second']:.1f} times the requests, {one['cpu']:.1f} times less CPU each"
        for name, one in ratios(found).items()
    ]
    lines.append("CPU ms per decision, as a library")
    lines += [f"  {name:24} {shown(one['cpu_ms'], 3)}" for name, one in found["decisions"].items()]
    lines += [
        f"{name}: {one['rss_mb']:.0f} MB resident after the load, ready in {one['ready_seconds']:.1f} s"
        for name, one in found["memory"].items()
    ]
    return lines


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=2.0, help="for each system in a round: 2")
    parser.add_argument("--peers", type=Path, default=peers.FOLDER, help="where the peers' packages are")


if __name__ == "__main__":
    run("rate", __doc__, measure, told, rounds=5, more=_more)
