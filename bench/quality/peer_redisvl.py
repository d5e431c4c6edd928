"""redisvl's SemanticRouter as a peer: `python -m bench.quality.peer_redisvl FOLDER [--tuned]`, by their Python.

By itself as it comes: mean distance by route over the references within the route's threshold of 0.5. With
`--tuned` the threshold, which its documentation asks to tune, and the aggregation are chosen by macro-F1 on
exemplars that the router does not hold. Its own optimizer of thresholds is no longer in the package, so the choice
is from a grid, with one threshold for all routes. It reports a cosine distance; the confidence is 1 - distance, at
least 0.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import redis
from numpy.typing import NDArray
from redisvl.extensions.router import Route, SemanticRouter
from redisvl.extensions.router.schema import DistanceAggregationMethod, RoutingConfig
from redisvl.utils.vectorize import CustomVectorizer

from bench.quality.exchange import NONE, Reply, Task, read_task, tell, write_reply
from bench.quality.redis_search import searching

THRESHOLD, AGGREGATION = 0.5, "avg"  # redisvl's defaults
GRID = tuple(itertools.product(("avg", "min"), (0.3, 0.5, 0.7, 1.0)))
ASKED = 500  # exemplars that try one setting


def router_of(
    task: Task, client: redis.Redis, rows: NDArray[np.intp], index: str, threshold: float, aggregation: str
) -> Any:
    """A router that holds some of the exemplars, in an index of its own."""
    dim = task.vectors.shape[1]

    def embed(text: str) -> list[float]:
        number = text.removeprefix("exemplar ")
        vector: list[float] = task.vectors[int(number)].tolist() if number.isdigit() else [0.0] * dim
        return vector

    def embed_many(texts: list[str]) -> list[list[float]]:
        return [embed(text) for text in texts]

    routes = [
        Route(
            name=label,
            references=[f"exemplar {row}" for row in rows if task.targets[row] == number],
            distance_threshold=threshold,
        )
        for number, label in enumerate(task.labels)
    ]
    return SemanticRouter(
        name=index,
        routes=routes,
        vectorizer=CustomVectorizer(embed=embed, embed_many=embed_many),
        routing_config=RoutingConfig(aggregation_method=DistanceAggregationMethod(aggregation)),
        redis_client=client,
        overwrite=True,
    )


def ask(router: Any, task: Task, questions: NDArray[np.float32]) -> Reply:
    """Ask one question after the other; the reply has no notes."""
    place = {label: number for number, label in enumerate(task.labels)}
    chosen, confidence, seconds = [], [], []
    for vector in questions.tolist():
        start = time.perf_counter()
        match = router(vector=vector)
        seconds.append(time.perf_counter() - start)
        tell("redisvl", len(seconds), len(questions))
        chosen.append(NONE if match.name is None else place[match.name])
        confidence.append(0.0 if match.name is None else 1 - float(match.distance))
    median = 1e6 * float(np.median(seconds))
    return Reply(np.array(chosen, dtype=np.intp), np.clip(np.array(confidence), 0, 1), median)


def macro_f1(truth: NDArray[np.intp], chosen: NDArray[np.intp]) -> float:
    """Mean F1 over the labels that occur in `truth`."""
    scores = []
    for label in np.unique(truth):
        hits = float(((truth == label) & (chosen == label)).sum())
        scores.append(2 * hits / float((truth == label).sum() + (chosen == label).sum()))
    return float(np.mean(scores))


def tune(task: Task, client: redis.Redis) -> tuple[str, float]:
    """The aggregation and threshold of the grid that do best on exemplars held out."""
    order = np.random.default_rng(0).permutation(len(task.vectors))
    asked, kept = order[:ASKED], order[ASKED:]
    router = router_of(task, client, kept, "trial", THRESHOLD, AGGREGATION)
    found = []
    for aggregation, threshold in GRID:
        router.update_routing_config(RoutingConfig(aggregation_method=DistanceAggregationMethod(aggregation)))
        router.update_route_thresholds(dict.fromkeys(task.labels, threshold))
        found.append(macro_f1(task.targets[asked], ask(router, task, task.vectors[asked]).chosen))
        print(
            f"  redisvl: {aggregation} within {threshold}: macro-F1 {found[-1]:.3f}", file=sys.stderr, flush=True
        )
    router.delete()
    return GRID[int(np.argmax(found))]


def answer(task: Task, client: redis.Redis, tuned: bool) -> Reply:
    """Tune if asked to, build, and ask."""
    aggregation, threshold = tune(task, client) if tuned else (AGGREGATION, THRESHOLD)
    router = router_of(task, client, np.arange(len(task.vectors)), "router", threshold, aggregation)
    reply = ask(router, task, task.questions)
    how = f"chosen on {ASKED} held-out exemplars" if tuned else "its defaults"
    setup = (
        f"SemanticRouter, flat cosine index, aggregation {aggregation}, distance threshold {threshold} ({how}); "
        "confidence is 1 - distance"
    )
    release = f"redisvl {version('redisvl')}, Redis {client.info()['redis_version']}"
    return replace(reply, notes={"version": release, "setup": setup})


def main() -> None:
    """Answer the task in the folder."""
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as place, searching(Path(place)) as client:
        write_reply(answer(read_task(folder), client, "--tuned" in sys.argv), folder)


if __name__ == "__main__":
    main()
