"""How cost grows with the length of a prompt: 10 to 100,000 characters, in words and as one endless word.

Each prompt is new, so the whole way is paid for: reading the request, finding directives, correcting, embedding,
and passing the text on to the engine. Knows the servers only by their URL.
"""

from __future__ import annotations

from random import Random

from bench.speed.figures import Figures, percentile
from bench.speed.load import Caller, Took, chat
from bench.speed.processes import agoge, stub_engine
from bench.speed.prompts import words

LENGTHS = (10, 100, 1_000, 10_000, 100_000)
REQUESTS = 40


def measure(lengths: tuple[int, ...] = LENGTHS, requests: int = REQUESTS) -> list[Figures]:
    """Return what each length costs, lengths taking turns."""
    random, stock = Random(4), words()
    took: dict[tuple[int, str], list[Took]] = {}
    direct: dict[int, list[Took]] = {}
    cpu: dict[tuple[int, str], float] = {}
    with (
        stub_engine() as engine,
        agoge(engine.url) as router,
        Caller(engine.url) as straight,
        Caller(router.url) as through,
    ):
        for _ in range(20):
            through.ask(chat(router.url, "auto", _words(random, stock, 60), stream=True))
        for kind, made in (("words", _words), ("one word", _endless)):
            for length in lengths:
                before = router.cpu()
                for _ in range(requests):
                    text = made(random, stock, length)
                    direct.setdefault(length, []).append(straight.ask(chat(engine.url, "core", text, stream=True)))
                    said = chat(router.url, "auto", text, stream=True)
                    took.setdefault((length, kind), []).append(through.ask(said))
                cpu[length, kind] = (router.cpu() - before) * 1e3 / requests
    return [
        {
            "characters": length,
            "direct_ms": _ms(direct[length], 0.5),
            **{
                kind: {
                    "p50_ms": _ms(took[length, kind], 0.5),
                    "p95_ms": _ms(took[length, kind], 0.95),
                    "cpu_ms": cpu[length, kind],
                }
                for kind in ("words", "one word")
            },
        }
        for length in lengths
    ]


def _ms(took: list[Took], share: float) -> float:
    return percentile([one.whole for one in took], share) * 1e3


def _words(random: Random, stock: list[str], length: int) -> str:
    text = " ".join(random.choices(stock, k=length // 2 + 1))
    return text[:length]


def _endless(random: Random, stock: list[str], length: int) -> str:
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=length))
