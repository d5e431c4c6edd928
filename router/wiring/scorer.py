"""The classifier as the service's Scorer port: off the event loop, in the router's own words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import classifiers
from router.core.scores import Neighbour, Scores
from router.typos import Speller

TOLD = 5  # exemplars told with every score: they explain it later, and cost one more pass over the similarities
THREADS = 2  # onnxruntime frees the GIL for its 1-2 ms; more threads only contend for the same cores


class ClassifierScorer:
    """Wraps one classifier, who puts its texts right before, and the threads they run on."""

    def __init__(self, classifier: classifiers.Classifier, speller: Speller) -> None:
        self._classifier, self._speller = classifier, speller
        self._numbers = {row.text: number for number, row in enumerate(classifier.rows)}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="classifier")

    @property
    def fingerprint(self) -> str:
        """The classifier's own, and the speller's."""
        return f"{self._classifier.fingerprint}-{self._speller.id}"

    @property
    def labels(self) -> frozenset[str]:
        """The classifier's labels."""
        return frozenset(self._classifier.labels)

    async def score(self, text: str) -> Scores:
        """Score one subject."""
        prediction, near = await self._examined(text, TOLD)
        return Scores(prediction.scores, prediction.out_of_domain, _neighbours(near))

    async def nearest(self, text: str, count: int) -> Sequence[Neighbour]:
        """Return the nearest exemplars, nearest first."""
        _, near = await self._examined(text, count)
        return _neighbours(near)

    async def _examined(
        self, text: str, count: int
    ) -> tuple[classifiers.Prediction, Sequence[classifiers.Neighbour]]:
        def examine() -> tuple[classifiers.Prediction, Sequence[classifiers.Neighbour]]:
            return self._classifier.examine(self._speller.correct(text), count)

        return await asyncio.get_running_loop().run_in_executor(self._pool, examine)

    def number_of(self, text: str, label: str) -> int | None:
        """Return an exemplar's number, None where it is none."""
        number = self._numbers.get(text)
        return number if number is not None and self._classifier.rows[number].label == label else None

    def exemplar(self, number: int) -> tuple[str, str] | None:
        """Return (text, label) of an exemplar, None where there is no such number."""
        rows = self._classifier.rows
        return (rows[number].text, rows[number].label) if 0 <= number < len(rows) else None

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _neighbours(found: Sequence[classifiers.Neighbour]) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(n.text, n.label, n.similarity) for n in found)
