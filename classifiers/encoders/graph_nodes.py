"""What ONNX graphs are made of, and what a file holds. The one module that knows onnx; knows no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from classifiers.errors import EncoderError

# onnxruntime's own operators, beside the standard ones
MICROSOFT = "com.microsoft"

Tensors = Mapping[str, tuple[str, Sequence[int | str]]]  # name: element type (STRING, INT64, FLOAT), shape


class Nodes:
    """Nodes and constants of a graph in the making."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def add(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        self.add_many(kind, inputs, [output], domain, **attributes)
        return output

    def add_many(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **attributes: Any
    ) -> Sequence[str]:
        """Add a node, and return the names of its outputs."""
        self._nodes.append(onnx.helper.make_node(kind, inputs, outputs, outputs[0], domain=domain, **attributes))
        return outputs

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Add a constant, and return its name."""
        self._constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def type(self, name: str) -> int:
        """The number of an element type, such as FLOAT."""
        return int(getattr(onnx.TensorProto, name))

    def model(self, name: str, inputs: Tensors, outputs: Tensors, opsets: Mapping[str, int]) -> bytes:
        """Return the graph as the content of an ONNX file; `opsets` is the version of each domain's operators."""
        helper = onnx.helper
        described = [
            [
                helper.make_tensor_value_info(tensor, self.type(kind), shape)
                for tensor, (kind, shape) in tensors.items()
            ]
            for tensors in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, name, *described, self._constants)
        # the versions are named, so that another release of onnx writes the same bytes: they may name an encoder
        versions = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        model = helper.make_model(graph, opset_imports=versions, ir_version=8, producer_name="agoge")
        content: bytes = model.SerializeToString(deterministic=True)
        return content


class Carried:
    """The constants and nodes of an ONNX file; raises `EncoderError` where it is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            graph = onnx.load(path).graph
        except Exception as error:  # protobuf's DecodeError has no public name in all its versions
            raise EncoderError(f"{path}: not an ONNX graph ({error})") from error
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes = graph.node

    def constant(self, name: str) -> NDArray[Any]:
        """A constant by its name; raises `EncoderError` where there is none."""
        try:
            value: NDArray[Any] = onnx.numpy_helper.to_array(self._tensors[name])
        except KeyError as error:
            raise EncoderError(f"{self._path}: no constant {name!r}") from error
        return value

    def node(self, kind: str) -> tuple[list[str], dict[str, Any]]:
        """Inputs and attributes of the one node of this kind; raises `EncoderError` where there is not one."""
        found = [node for node in self._nodes if node.op_type == kind]
        if len(found) != 1:
            raise EncoderError(f"{self._path}: {len(found)} nodes {kind}; expected one")
        value = onnx.helper.get_attribute_value
        return list(found[0].input), {part.name: value(part) for part in found[0].attribute}
