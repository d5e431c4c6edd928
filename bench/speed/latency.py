"""What Agoge adds to a request: its own latency beside that of the engine alone.

`python -m bench.speed.latency [--rounds N] [--requests N] [--json FILE]`. One connection, one request at a time.
Direct, cached and uncached streams take turns within each round, 25 of a kind in a row, so that a busy moment
slows all of them alike. "Added" is the difference of medians to the stub engine asked directly; TTFT is the first
byte of the stream. "Cached" repeats one prompt; "uncached" pays for the encoder on prompts never seen before, of
12, 60 and 400 tokens. "Cached, mixed" are cached requests each of which follows an uncached one: the encoder's
weights have pushed everything else out of the processor's caches by then.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.speed.command import run, say
from bench.speed.figures import Figures, latencies, over, percentile, shown
from bench.speed.load import Caller, Took, chat
from bench.speed.processes import agoge, stub_engine
from bench.speed.prompts import Prompts

TOKENS = (12, 60, 400)
MIXED = 13  # tokens of the uncached ones between cached ones: a length of their own, so that none is known
ROW = 25  # requests of a kind, one after the other
WARM = 30  # requests of each kind before anything counts


def measure(options: argparse.Namespace) -> Figures:
    """Measure every kind in turn."""
    prompts = Prompts(seed=1)
    with stub_engine() as engine, agoge(engine.url) as router:
        say("latency: the stub engine and the router are up")
        rounds = [_round(engine.url, router.url, prompts, WARM)]  # thrown away
        rounds = [_round(engine.url, router.url, prompts, options.requests) for _ in range(options.rounds)]
    kinds = {name: [found[name] for found in rounds] for name in rounds[0]}
    found: Figures = {
        "first": {
            name: latencies([[took.first for took in each] for each in many]) for name, many in kinds.items()
        },
        "whole": {
            name: latencies([[took.whole for took in each] for each in many]) for name, many in kinds.items()
        },
        "added": {},
        "added_first": {},
    }
    for part, key in (("added", "whole"), ("added_first", "first")):
        for name in kinds:
            if name != "direct":
                found[part][name] = over([_added(each, name, key) for each in rounds])
    return found


def _round(engine: str, router: str, prompts: Prompts, requests: int) -> dict[str, list[Took]]:
    direct, cached = (
        chat(engine, "core", "Why is the sky blue?", stream=True),
        chat(router, "auto", "Why is the sky blue?", stream=True),
    )
    fresh = {
        tokens: [chat(router, "auto", text, stream=True) for text in prompts.some(tokens, requests)]
        for tokens in (*TOKENS, MIXED)
    }
    took: dict[str, list[Took]] = {
        "direct": [],
        "cached": [],
        **{f"uncached {n}": [] for n in TOKENS},
        "cached, mixed": [],
    }
    with Caller(engine) as straight, Caller(router) as through:
        for start in range(0, requests, ROW):
            row = range(start, min(start + ROW, requests))
            took["direct"] += [straight.ask(direct) for _ in row]
            took["cached"] += [through.ask(cached) for _ in row]
            for tokens in TOKENS:
                took[f"uncached {tokens}"] += [through.ask(fresh[tokens][number]) for number in row]
            for number in row:
                through.ask(fresh[MIXED][number])
                took["cached, mixed"].append(through.ask(cached))
    return took


def _added(found: dict[str, list[Took]], name: str, key: str) -> float:
    """Return the milliseconds between the medians of a kind and of the engine alone, in one round."""
    middle = {kind: percentile([getattr(took, key) for took in found[kind]], 0.5) for kind in (name, "direct")}
    return (middle[name] - middle["direct"]) * 1e3


def told(found: Figures) -> Sequence[str]:
    """Return what people read."""
    lines = [
        "added latency in ms, median of the rounds (least to most)          TTFT                    p95 whole"
    ]
    for name, whole in found["whole"].items():
        added = shown(found["added"][name]) if name != "direct" else f"(takes {shown(whole['p50'])})"
        first = shown(found["added_first"][name]) if name != "direct" else ""
        lines.append(f"  {name:14} {added:36} {first:28} {whole['p95']:.2f}")
    return lines


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=150, help="of each kind in a round: 150")


if __name__ == "__main__":
    run("latency", __doc__, measure, told, rounds=7, more=_more)
