"""The one module that knows onnxruntime: opens a graph, runs it on one thread. Knows no text and no model."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np

# Else the library collects usage events in ~/.cache, with an id of the machine, and sends them to its maker. Its
# own call to switch that off comes too late: the id is written while it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from classifiers.encoders.protocol import Vectors
from classifiers.errors import EncoderError


class Calculation:
    """A graph of our own making. Safe to run from several threads at once."""

    def __init__(self, model: bytes) -> None:
        self._session = _opened(model, _options())

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Run once; the outputs in their order."""
        outputs: list[Any] = self._session.run(None, dict(feeds))
        return outputs


class Graph:
    """An ONNX graph with one output of shape (n, dim). Safe to run from several threads at once."""

    def __init__(self, path: Path, *, text_operators: bool = False) -> None:
        """Open `path`; `text_operators` registers the tokenizer operators of onnxruntime-extensions.

        A file that ends in .ort is mapped, and its weights are used where they lie.
        """
        options = _options(text_operators)
        if path.suffix == ".ort":
            options.add_session_config_entry("session.use_memory_mapped_ort_model", "1")
            options.add_session_config_entry("session.use_ort_model_bytes_for_initializers", "1")
        self._session = _opened(path, options)
        self.inputs: tuple[str, ...] = tuple(node.name for node in self._session.get_inputs())
        outputs = self._session.get_outputs()
        self._output: str = outputs[0].name
        if len(outputs) != 1 or len(outputs[0].shape) != 2 or not isinstance(outputs[0].shape[1], int):
            shapes = [node.shape for node in outputs]
            raise EncoderError(f"{path}: outputs {shapes}; expected one output of shape (n, dim)")
        self.dim: int = outputs[0].shape[1]

    def run(self, feeds: Mapping[str, Any]) -> Vectors:
        """Run once; float32 of shape (n, dim), rows scaled to L2 norm 1 (a zero row stays zero)."""
        (vectors,) = self._session.run([self._output], dict(feeds))
        vectors = np.asarray(vectors, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        scaled: Vectors = vectors / np.maximum(norms, np.float32(1e-12))
        return scaled


def optimised(path: Path, target: Path, *, text_operators: bool = False) -> None:
    """Write the graph at `path` to `target` as onnxruntime optimises it for any processor, in its own format."""
    options = _options(text_operators)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ORT")
    _opened(path, options)


def _options(text_operators: bool = False) -> Any:
    options = onnxruntime.SessionOptions()
    # One thread: a prompt is too short to split, and spinning pools would take the cores from the service.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # The arena never gives memory back: one long prompt would hold its peak for ever.
    options.enable_cpu_mem_arena = False
    if text_operators:
        options.register_custom_ops_library(str(_text_operators()))
    return options


def _opened(graph: Path | bytes, options: Any) -> Any:
    source = graph if isinstance(graph, bytes) else str(graph)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    # onnxruntime raises its own unrelated classes (Fail, InvalidGraph, NoSuchFile, ...) without a common base
    except Exception as error:
        name = "a graph of ours" if isinstance(graph, bytes) else graph
        raise EncoderError(f"{name}: onnxruntime cannot open this graph ({error})") from error


def _text_operators() -> Path:
    """The library that `onnxruntime_extensions.get_library_path()` names, found without importing that package.

    The import would bring in transformers and torch wherever they are installed: seconds at start-up for one path.
    """
    spec = importlib.util.find_spec("onnxruntime_extensions")
    for folder in spec.submodule_search_locations or () if spec else ():
        for suffix in EXTENSION_SUFFIXES:
            if (library := Path(folder) / f"_extensions_pydll{suffix}").is_file():
                return library
    raise EncoderError(
        "the package onnxruntime-extensions is missing or incomplete; pip install onnxruntime-extensions"
    )


def sha256_of(*paths: Path) -> str:
    """First 16 hex digits of the sha256 over the contents of the files, in the order given."""
    state = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            state.update(hashlib.file_digest(file, "sha256").digest())
    return state.hexdigest()[:16]
