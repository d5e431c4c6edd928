"""How cost grows with the adapters of a policy: 10 to 5,000. The policy is synthetic.

As a library, beside (`python -m bench.speed.adapters POLICY`): reading the policy, compiling its modes, listing
its closure, deciding; with garbage looked for as a server does that serves, so this is what a reload costs. Ten
adapters have gates, since the shipped classifier has 14 labels; the others have to be asked for. As a server:
ready, resident memory, an uncached request, GET /v1/models. `at_most` is 1, since of 5,000 adapters two at once
would be 12 million blends, which `agoge policy check` refuses.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psutil

from bench.speed.beside import Answer, answering, beside
from bench.speed.figures import Figures, percentile
from bench.speed.load import Caller, chat, request
from bench.speed.processes import agoge, stub_engine
from bench.speed.prompts import Prompts
from router.core.decide import decide
from router.core.modes import Modes
from router.core.reachable import reachable
from router.core.scores import Scores
from router.lemmas import RussianLemmatizer
from router.policy_file import load_policies
from router.wiring.settled import settle

ADAPTERS = (10, 100, 1_000, 5_000)
LABELS = (
    "physics",
    "sport",
    "law",
    "math",
    "medicine",
    "history",
    "economics",
    "programming",
    "society",
    "general",
)
REQUESTS = 30
PATIENCE = 1.0  # seconds


def written(count: int) -> str:
    """Return a policy of the core and `count` adapters, in YAML."""
    gates = [
        f"  a{number:05}: {{from: ./a{number}, when: {_when(number)}, aliases: [expert {number}]}}"
        for number in range(count)
    ]
    return "\n".join(
        [
            "version: 1",
            "base: org/model",
            "adapters:",
            "  core: {from: ./core, when: always}",
            *gates,
            "compose: {at_most: 1, merge: exact}",
            'backends: ["embedded:"]',
            "",
        ]
    )


def _when(number: int) -> str:
    return f"{{label: {LABELS[number]}, at_least: 0.5}}" if number < len(LABELS) else "asked"


def measure(counts: tuple[int, ...] = ADAPTERS) -> list[Figures]:
    """Return what each number of adapters costs."""
    with tempfile.TemporaryDirectory() as folder, stub_engine() as engine:
        return [_one(count, Path(folder) / f"policy-{count}.yaml", engine.url) for count in counts]


def _one(count: int, file: Path, engine: str) -> Figures:
    file.write_text(written(count), "utf-8")
    with beside("bench.speed.adapters", str(file)) as ask:
        found: Figures = {"adapters": count, **ask()}
    prompts = Prompts(seed=5).some(12, REQUESTS)
    with agoge(engine, policy=file) as router, Caller(router.url, limit=300) as caller:
        caller.ask(chat(router.url, "auto", "warm", stream=True))
        took = [caller.ask(chat(router.url, "auto", text, stream=True)).whole for text in prompts]
        listed = [caller.ask(request(f"{router.url}/v1/models")).whole]
        if listed[0] < PATIENCE:  # what takes longer is no noise, and need not be asked again
            listed += [caller.ask(request(f"{router.url}/v1/models")).whole for _ in range(4)]
        return found | {
            "ready_seconds": router.ready_seconds,
            "server_rss_mb": router.rss(),
            "request_p50_ms": percentile(took, 0.5) * 1e3,
            "models_ms": percentile(listed, 0.5) * 1e3,
        }


def _usual(work: Callable[[], object], rounds: int = 5) -> float:
    """Return how long `work` takes, the median in milliseconds."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return 1e3 * median(took)


def main() -> None:
    """Answer once: what the policy named first costs as a library."""
    file, lemmatizer = Path(sys.argv[1]), RussianLemmatizer()
    settle()
    before = psutil.Process(os.getpid()).memory_info().rss

    def answer() -> Answer:
        policy = load_policies(file).profile("default", None)
        blends = len(reachable(policy))
        rss = psutil.Process(os.getpid()).memory_info().rss
        scores = Scores(dict.fromkeys(LABELS, 0.1) | {LABELS[0]: 0.99}, False, ())
        return {
            "load_ms": _usual(lambda: load_policies(file)),
            "modes_ms": _usual(lambda: Modes.of(policy, lemmatizer)),
            "closure_ms": _usual(lambda: reachable(policy)),
            "decide_us": 1e3 * _usual(lambda: decide(policy, scores, None), 20),
            "blends": blends,
            "memory_mb": (rss - before) / 1e6,
        }

    answering(answer)


if __name__ == "__main__":
    main()
