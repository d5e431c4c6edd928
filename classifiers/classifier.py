"""The trained classifier: text -> scores, neighbours. Knows no file format and no training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from classifiers.calibration import Calibration
from classifiers.comparison import Comparison
from classifiers.encoders import Encoder
from classifiers.encoders.text import has_words
from classifiers.head import Head
from classifiers.held_out import HeldOut
from classifiers.neighbourhood import Neighbourhood
from classifiers.prediction import Neighbour, Prediction
from classifiers.rows import Row, digest
from classifiers.strangeness import MOST, strangeness


@dataclass(frozen=True)
class Classifier:
    """An encoder, a head and the exemplars they were fitted on. Immutable, and safe to use from several
    threads.

    `rows` are the exemplars in the order of `neighbourhood.codes`. Above `limit` a text is out of domain.
    What describes the fit and never changes a result: `held_out`, what the rows scored when a fit had not seen
    them; `training`, figures (cross-validation metrics, log loss); `calibration`, gates with a guarantee where
    somebody asked for some.
    """

    encoder: Encoder
    head: Head
    neighbourhood: Neighbourhood
    limit: float
    rows: tuple[Row, ...]
    held_out: HeldOut
    training: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, sorted."""
        return self.head.labels

    @cached_property
    def fingerprint(self) -> str:
        """Hash (16 hex digits) of everything that a result depends on; equal fingerprints give equal results."""
        state = hashlib.sha256()
        around = self.neighbourhood
        numbers = (
            self.limit,
            around.nearest,
            self.head.bandwidth,
            self.head.sharpness,
            self.head.power,
        )
        state.update(repr((self.encoder.id, self.labels, numbers)).encode())
        for array in (self.head.weights, around.codes):
            state.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
        state.update(digest(self.rows).encode())
        return state.hexdigest()[:16]

    def predict(self, text: str) -> Prediction:
        """Scores of one text; any string is accepted."""
        return self.examine(text, 0)[0]

    def predict_many(self, texts: Sequence[str]) -> list[Prediction]:
        """`predict` for each text, with exactly the same results."""
        return [self.predict(text) for text in texts]

    def nearest(self, text: str, k: int = 5) -> tuple[Neighbour, ...]:
        """The `k` exemplars nearest to a text, nearest first; none for a text without a letter or digit."""
        return self.examine(text, k)[1]

    def examine(self, text: str, k: int = 5) -> tuple[Prediction, tuple[Neighbour, ...]]:
        """`predict` and `nearest` for the price of one embedding."""
        if not has_words(text):
            return Prediction(dict.fromkeys(self.labels, 1 / len(self.labels)), True, MOST), ()
        vector = self.encoder.encode([text])[0]
        guesses, nearest, cosines = self._comparison.run(vector, max(k, self.neighbourhood.nearest))
        scores = self.head.probabilities(guesses)
        strange = float(strangeness(scores, self.neighbourhood.similarity(cosines)))
        prediction = Prediction(
            scores=dict(zip(self.labels, scores.tolist(), strict=True)),
            out_of_domain=strange > self.limit,
            strangeness=strange,
        )
        told = zip(nearest[: max(k, 0)].tolist(), cosines.tolist(), strict=False)
        return prediction, tuple(Neighbour(self.rows[i].text, self.rows[i].label, cosine) for i, cosine in told)

    @cached_property
    def _comparison(self) -> Comparison:
        return Comparison(self.neighbourhood.codes, self.head.weights, self.head.bandwidth)

    def save(self, folder: Path) -> None:
        """Write the artefact folder, atomically; see `classifiers.artefact`."""
        from classifiers import artefact

        artefact.save(self, folder)

    @classmethod
    def load(cls, folder: Path, encoder: Encoder | None = None) -> Classifier:
        """Read an artefact folder; `encoder` None opens the one named in it. See `artefact.load`."""
        from classifiers import artefact

        return artefact.load(folder, encoder)
