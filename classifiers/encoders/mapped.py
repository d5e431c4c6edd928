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
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from classifiers.encoders.onnx_session import Graph, optimised
from classifiers.errors import EncoderError

_log = logging.getLogger(__name__)


def open_mapped(
    weights: Path, name: str, cache: Path, rewrite: Callable[[Path, Path], None], *, text_operators: bool = False
) -> Graph:
    """Open the graph that `rewrite` makes of `weights`, mapped from a copy in `cache`, made when there is none.

    `name` stands for weights and rewriting: a copy is for one of it, one onnxruntime and one kind of processor.
    Where no copy can be written or opened, the weights are opened as they are. Raises `EncoderError` where that
    cannot be.
    """
    copy = cache / f"{name}-{version('onnxruntime')}-{platform.machine()}.ort"
    try:
        if copy.is_file():
            with suppress(EncoderError):  # damaged: it is made anew
                return Graph(copy, text_operators=text_operators)
        _make(weights, copy, rewrite, text_operators=text_operators)
        return Graph(copy, text_operators=text_operators)
    except (OSError, EncoderError) as error:
        _log.info("%s is read as it is: %s", weights, error)
        return Graph(weights, text_operators=text_operators)


def _make(weights: Path, copy: Path, rewrite: Callable[[Path, Path], None], *, text_operators: bool) -> None:
    """Write the rewritten and optimised graph beside its place, then put it there in one rename."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".mapped-") as scratch:
        plain, fresh = Path(scratch) / "graph.onnx", Path(scratch) / "graph.ort"
        rewrite(weights, plain)
        optimised(plain, fresh, text_operators=text_operators)
        with fresh.open("rb") as file:  # a mapped file that lost its end in a power cut would end the process
            os.fsync(file.fileno())
        os.replace(fresh, copy)
