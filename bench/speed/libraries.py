"""Two routers as libraries, on the same weights and exemplars: aurelio's semantic-router and our classifier.

Run beside as `python -m bench.speed.libraries ARTEFACT PEERS`. Both embed each text anew with our encoder; what
differs is what they do with its vector. semantic-router is its `IndexedRouter` with a local index, as it comes.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.speed import peers
from bench.speed.beside import Answer, answering
from bench.speed.figures import percentile
from classifiers import Classifier

NAMES = ("Agoge's classifier", "semantic-router", "the encoder alone")


def aurelio(classifier: Classifier) -> Callable[[str], object]:
    """Return a router on all the exemplars of `classifier`, with their vectors as they are."""
    from semantic_router import IndexedRouter, Route
    from semantic_router.encoders import DenseEncoder

    known = dict(
        zip((row.text for row in classifier.rows), classifier.neighbourhood.vectors.tolist(), strict=True)
    )

    class Ours(DenseEncoder):  # type: ignore[misc]  # the package has no types here
        def __call__(self, docs: list[Any]) -> list[list[float]]:
            return [known.get(doc) or classifier.encoder.encode([doc])[0].tolist() for doc in docs]

        async def acall(self, docs: list[Any]) -> list[list[float]]:
            return self(docs)

    texts: dict[str, list[str]] = defaultdict(list)
    for row in classifier.rows:
        texts[row.label].append(row.text)
    routes = [Route(name=label, utterances=some) for label, some in texts.items()]
    router: Callable[[str], object] = IndexedRouter(encoder=Ours(name="ours"), routes=routes)
    return router


def main() -> None:
    """Answer {"name": one of NAMES, "texts": [...]} with seconds and CPU seconds for each text."""
    classifier = Classifier.load(Path(sys.argv[1]))
    made: dict[str, Callable[[str], object]] = {
        NAMES[0]: lambda text: classifier.examine(text, 5),
        NAMES[2]: lambda text: classifier.encoder.encode([text]),
    }
    if peers.installed(Path(sys.argv[2])):
        peers.use(Path(sys.argv[2]))
        made[NAMES[1]] = aurelio(classifier)

    def answer(name: str, texts: list[str]) -> Answer:
        if name not in made:
            return {}
        decide, took = made[name], []
        cpu = time.process_time()
        for text in texts:
            started = time.perf_counter()
            decide(text)
            took.append(time.perf_counter() - started)
        used = time.process_time() - cpu
        said: Answer = {"cpu_ms": used * 1e3 / len(texts), "p50_ms": percentile(took, 0.5) * 1e3}
        return said | ({"version": version("semantic-router")} if name == NAMES[1] else {})

    answering(answer)


if __name__ == "__main__":
    main()
