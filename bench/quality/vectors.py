"""An encoder that keeps what it encoded, in the process and on disk: every contender gets the same vectors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from classifiers import Encoder, Progress
from classifiers.encoders import Vectors

FOLDER = Path(".agoge/quality")


class Kept:
    """An `Encoder` before which stands a store. On disk a text is its sha256, so that no text is kept."""

    def __init__(self, encoder: Encoder, folder: Path = FOLDER) -> None:
        self.encoder = encoder
        self.file = folder / f"vectors-{hashlib.sha256(encoder.id.encode()).hexdigest()[:12]}.npz"
        self._stored: dict[str, Vectors] = {}
        self._known: dict[str, Vectors] = {}
        if self.file.is_file():
            with np.load(self.file) as found:
                self._stored = dict(zip(found["keys"].tolist(), found["vectors"], strict=True))

    @property
    def id(self) -> str:
        """The encoder's."""
        return self.encoder.id

    @property
    def spec(self) -> str:
        """The encoder's."""
        return self.encoder.spec

    @property
    def dim(self) -> int:
        """The encoder's."""
        return self.encoder.dim

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of shape (n, dim), encoding only what was never seen."""
        known = self._known
        for text in texts:
            if text not in known:
                known[text] = self._find(text)
        if len(texts) == 1:  # without a copy: what is timed is the head, not this
            return known[texts[0]][np.newaxis]
        return np.stack([known[text] for text in texts])

    def prepare(self, texts: Sequence[str], progress: Progress) -> None:
        """Encode whatever is new among `texts` and write the store."""
        new = [text for text in dict.fromkeys(texts) if _key(text) not in self._stored]
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            for done, (text, vectors) in enumerate(zip(new, pool.map(self._alone, new), strict=True), 1):
                self._stored[_key(text)] = vectors
                progress("encoding", done, len(new))
        if new:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            keys = list(self._stored)
            np.savez(self.file, keys=np.array(keys), vectors=np.stack([self._stored[key] for key in keys]))

    def _alone(self, text: str) -> Vectors:
        vector: Vectors = self.encoder.encode([text])[0]
        return vector

    def _find(self, text: str) -> Vectors:
        key = _key(text)
        if key not in self._stored:
            self._stored[key] = self._alone(text)
        return self._stored[key]


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
