"""CPU per request against its floor: what no router could do without.

`python -m bench.speed.floor [--rounds N] [--requests N] [--json FILE]`. The floor of an uncached request is to
tokenise and embed its prompt, to call the engine once over HTTP and to ask Redis once; of a cached one the same
without the embedding. A bare script (`bench.speed.bare`) does that with the same libraries: our encoder's
session, aiohttp and redis-py. It and the router, whose cache is the same real Valkey, take turns on the same
core, with 8 requests in flight, answers not streamed, prompts of 12 and 60 tokens.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from itertools import repeat

from bench.speed.beside import Ask, beside
from bench.speed.command import run, say
from bench.speed.figures import Figures, over, shown
from bench.speed.load import chat, heard
from bench.speed.processes import Served, agoge, apart, stub_engine, valkey
from bench.speed.prompts import Prompts
from bench.speed.rate import ARTEFACT, KNOWN

IN_FLIGHT = 8
TOKENS = (12, 60)
HIT = re.compile(rb'"cache": ?"hit"')


def measure(options: argparse.Namespace) -> Figures:
    """Measure the router and its floor in turn."""
    core, rest = apart()
    if rest is not None:
        os.sched_setaffinity(0, rest)
    prompts = Prompts(seed=3)
    with (
        stub_engine(cores=rest) as engine,
        valkey(cores=rest) as cache,
        agoge(engine.url, options=["--cache", cache], cores=core) as router,
        beside("bench.speed.bare", str(ARTEFACT), engine.url, cache, cores=core) as bare,
    ):
        say("floor: engine, Valkey, router and the bare script are up")
        _round(bare, router, prompts, 50)  # thrown away
        rounds = [_round(bare, router, prompts, options.requests) for _ in range(options.rounds)]
    return {
        "in_flight": IN_FLIGHT,
        "kinds": {
            kind: {key: over([one[kind][key] for one in rounds]) for key in rounds[0][kind]} for kind in rounds[0]
        },
    }


def _round(bare: Ask, router: Served, prompts: Prompts, requests: int) -> dict[str, Figures]:
    asked: dict[str, list[str]] = {"cached": [KNOWN]}
    asked |= {f"uncached {tokens}": prompts.some(tokens, requests) for tokens in TOKENS}
    found = {}
    for kind, texts in asked.items():
        embedded = kind != "cached"
        said = bare(texts=texts, count=requests, embed=embedded, in_flight=IN_FLIGHT)
        ours, hits = _cost(router, iter(texts) if embedded else repeat(texts[0], requests), requests)
        found[kind] = {**said, "router_ms": ours, "ratio": ours / said["floor_ms"], "hits": hits}
    return found


def _cost(router: Served, texts: Iterator[str], requests: int) -> tuple[float, float]:
    """Return the milliseconds of CPU that the router spends on each request, and the share of cache hits.

    Not all of what should be hits are where the machine is too busy for the cache to answer in time.
    """
    cpu, hits = router.cpu(), 0
    asked = (chat(router.url, "auto", text, stream=False) for text in texts)
    for _, body in heard(router.url, asked, IN_FLIGHT):
        hits += HIT.search(body) is not None
    return (router.cpu() - cpu) * 1e3 / requests, hits / requests


def told(found: Figures) -> Sequence[str]:
    """Return what people read."""
    lines = ["CPU ms per request, median of the rounds (least to most)       floor                        ratio"]
    for kind, one in found["kinds"].items():
        lines.append(
            f"  {kind:14} {shown(one['router_ms'], 3):28} {shown(one['floor_ms'], 3):28} {shown(one['ratio'])}"
        )
    return lines


def _more(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=400, help="of each kind in a round: 400")


if __name__ == "__main__":
    run("floor", __doc__, measure, told, rounds=5, more=_more)
