"""Our encoder behind OpenAI's embeddings route: `python -m bench.speed.embedder PORT ARTEFACT`.

For a peer that can only embed over HTTP. Vectors of the exemplars come from the artefact, so that the peer need
not wait for ten thousand of them; every other text pays for the encoder. Knows no peer.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from classifiers import Classifier


class Embedder:
    """Answers with the vectors of one classifier's encoder."""

    def __init__(self, classifier: Classifier) -> None:
        self._encoder = classifier.encoder
        vectors = classifier.neighbourhood.vectors
        self._known = {row.text: vector for row, vector in zip(classifier.rows, vectors, strict=True)}

    async def embed(self, request: web.Request) -> web.Response:
        """Answer POST /v1/embeddings."""
        asked = await request.json()
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        short = asked.get("encoding_format") == "base64"
        rows = [
            {"object": "embedding", "index": index, "embedding": _written(self._of(text), short)}
            for index, text in enumerate(texts)
        ]
        used = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return web.json_response({"object": "list", "model": asked["model"], "data": rows, "usage": used})

    def _of(self, text: str) -> NDArray[np.float32]:
        known = self._known.get(text)
        vector: NDArray[np.float32] = self._encoder.encode([text])[0] if known is None else known
        return vector


def _written(vector: NDArray[np.float32], short: bool) -> object:
    return base64.b64encode(vector.tobytes()).decode() if short else vector.tolist()


async def _well(request: web.Request) -> web.Response:
    return web.json_response({})


def main() -> None:
    """Serve on the loopback port given first."""
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/embeddings", Embedder(Classifier.load(Path(sys.argv[2]))).embed)
    app.router.add_get("/health", _well)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
