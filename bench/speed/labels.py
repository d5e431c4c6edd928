"""How cost grows with labels: 10 to 1,000. The classifier is synthetic: its labels mean nothing.

The exemplars and their vectors are the shipped ones, dealt out to so many labels, and the head's weights are
random: a prediction does the same arithmetic as one of a classifier that was trained on so many. Served whole,
in front of the shipped policy.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.speed.figures import Figures, percentile
from bench.speed.load import Caller, chat
from bench.speed.processes import agoge, stub_engine
from bench.speed.prompts import Prompts
from classifiers import Classifier
from classifiers.head import Head
from classifiers.held_out import HeldOut

LABELS = (10, 100, 1_000)
KNOWN = ("physics", "sport")  # the shipped policy's gates
ARTEFACT = Path(".agoge/classifier")
REQUESTS = 60


def synthetic(shipped: Classifier, count: int) -> Classifier:
    """Return a classifier of `count` labels, two of them the policy's."""
    labels = tuple(sorted([*KNOWN, *(f"label{number:04}" for number in range(count - len(KNOWN)))]))
    rows = [replace(row, label=labels[number % count]) for number, row in enumerate(shipped.rows)]
    order = sorted(range(len(rows)), key=lambda number: rows[number])
    weights = np.random.default_rng(6).normal(0, 0.01, (count, len(rows))).astype(np.float32)
    head = shipped.head
    return replace(
        shipped,
        head=Head(labels, weights, head.bandwidth, head.sharpness, head.power),
        neighbourhood=replace(shipped.neighbourhood, codes=shipped.neighbourhood.codes[order]),
        rows=tuple(rows[number] for number in order),
        held_out=HeldOut(np.zeros((len(rows), count), np.float32), np.zeros(len(rows), np.float32)),
        calibration=None,
    )


def measure(counts: tuple[int, ...] = LABELS) -> list[Figures]:
    """Return what each number of labels costs."""
    shipped = Classifier.load(ARTEFACT)
    with tempfile.TemporaryDirectory() as folder, stub_engine() as engine:
        found = []
        for count in counts:
            artefact = Path(folder) / f"labels-{count}"
            synthetic(shipped, count).save(artefact)
            found.append({"labels": count, **_served(artefact, engine.url)})
        return found


def _served(artefact: Path, engine: str) -> Figures:
    prompts = Prompts(seed=7)
    with agoge(engine, options=["--classifier", str(artefact)]) as router, Caller(router.url) as caller:
        for text in prompts.some(12, 10):
            caller.ask(chat(router.url, "auto", text, stream=True))
        cpu = router.cpu()
        texts = prompts.some(12, REQUESTS)
        took = [caller.ask(chat(router.url, "auto", text, stream=True)).whole for text in texts]
        uncached = (router.cpu() - cpu) * 1e3 / REQUESTS
        cpu = router.cpu()
        again = [caller.ask(chat(router.url, "auto", text, stream=True)).whole for text in texts]
        return {
            "uncached_p50_ms": percentile(took, 0.5) * 1e3,
            "uncached_cpu_ms": uncached,
            "cached_p50_ms": percentile(again, 0.5) * 1e3,
            "cached_cpu_ms": (router.cpu() - cpu) * 1e3 / REQUESTS,
            "ready_seconds": router.ready_seconds,
            "rss_mb": router.rss(),
        }
