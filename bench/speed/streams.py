"""How cost grows with open streams: 1 to 512 at once, from an engine that speaks five tokens a second in each.

They are opened one after the other over four seconds and last six, so that two seconds long all are open.

The engine writes into each token when it was sent; when the load receives it, the difference is what the token
spent on its way. The same streams taken straight from the engine tell what of that is the engine's and the
load's own.
"""

from __future__ import annotations

import re
import time
from itertools import repeat

from bench.speed.figures import Figures, percentile
from bench.speed.load import chat, heard, pressed
from bench.speed.processes import Served, agoge, stub_engine

STREAMS = (1, 16, 64, 256, 512)
TOKENS, GAP = 30, 200.0  # tokens of one answer, milliseconds between them
OPENING = 4.0  # seconds over which the streams are opened
SENT = re.compile(rb'"content": ?"(\d{9,}) "')


def measure(streams: tuple[int, ...] = STREAMS) -> list[Figures]:
    """Return what each number of streams costs, straight and through the router."""
    found = []
    with stub_engine(tokens=TOKENS, gap=GAP) as engine, agoge(engine.url) as router:
        pressed(router.url, repeat(chat(router.url, "auto", "Why is the sky blue?", stream=False), 4), 4)
        idle = router.rss()
        for count in streams:
            straight, through = _together(engine, "core", count), _together(router, "auto", count)
            memory = max(0.0, (through["rss_mb"] - idle) * 1e3 / count)
            found.append({"streams": count, "direct": straight, "router": through, "memory_kb": memory})
    return found


def _together(served: Served, model: str, count: int) -> Figures:
    """Open `count` streams and hear them to their end."""
    late: list[float] = []
    most = 0.0

    def each(now: float, data: bytes) -> None:
        nonlocal most
        at = time.monotonic_ns()
        late.extend((at - int(sent)) / 1e6 for sent in SENT.findall(data))

    asked = repeat(chat(served.url, model, "Why is the sky blue?", stream=True), count)
    cpu, firsts = served.cpu(), []
    for took, _ in heard(served.url, asked, count, every=OPENING / count, each=each):
        firsts.append(took.first * 1e3)
        if len(firsts) == 1:  # the others are still open, or just over
            most = served.rss()
    used = served.cpu() - cpu
    return {
        "first_p50_ms": percentile(firsts, 0.5),
        "first_p99_ms": percentile(firsts, 0.99),
        "token_p50_ms": percentile(late, 0.5),
        "token_p99_ms": percentile(late, 0.99),
        "tokens": len(late),
        "cpu_us_a_token": used * 1e6 / max(1, len(late)),
        "rss_mb": most,
    }
