"""A graph in the form that onnxruntime maps into memory instead of reading it: shared by all who serve it.

Opening an ONNX file copies its weights into memory of the process's own. onnxruntime's own format (ORT) holds the
graph after its optimisations, and its weights can be used where they lie in the file: several workers, and the
kernel's page cache, then hold them once. Knows no text and no label.
"""

from __future__ import annotations

import logging
import os
import platform
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from classifiers.encoders.onnx_session import Graph, optimised
from classifiers.errors import EncoderError

_log = logging.getLogger(__name__)


def open_mapped(weights: Path, digest: str, cache: Path, *, text_operators: bool = False) -> Graph:
    """Open the graph at `weights`, mapped from a copy in `cache`, which is made when there is none.

    `digest` is that of the weights: a copy is for one graph, one onnxruntime and one kind of processor. Where none
    can be written or opened, the graph is opened as it is. Raises `EncoderError` where that cannot be.
    """
    name = f"{weights.stem}-{digest}-{version('onnxruntime')}-{platform.machine()}.ort"
    copy = cache / name
    try:
        if copy.is_file():
            with suppress(EncoderError):  # damaged: it is made anew
                return Graph(copy, text_operators=text_operators)
        _make(weights, copy, text_operators=text_operators)
        return Graph(copy, text_operators=text_operators)
    except (OSError, EncoderError) as error:
        _log.info("%s is read as it is: %s", weights, error)
        return Graph(weights, text_operators=text_operators)


def _make(weights: Path, copy: Path, *, text_operators: bool) -> None:
    """Write the optimised graph beside its place, then put it there in one rename."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".mapped-") as scratch:
        fresh = Path(scratch) / "graph.ort"
        optimised(weights, fresh, text_operators=text_operators)
        with fresh.open("rb") as file:  # a mapped file that lost its end in a power cut would end the process
            os.fsync(file.fileno())
        os.replace(fresh, copy)
