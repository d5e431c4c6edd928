"""A safetensors file, read tensor by tensor: a large adapter never has to fit into memory as a whole.

Knows the file format and numpy's types; knows nothing about LoRA.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES: Mapping[str, Any] = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}


class TensorsUnreadable(ValueError):
    """The file is not a whole safetensors file of floating-point tensors; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies. `read` fetches F16, F32 and F64 as they are, BF16 (unknown to numpy) as float32."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    def read(self) -> NDArray[Any]:
        """Return the tensor as a new array."""
        count = int(np.prod(self.shape, dtype=np.int64))
        flat: NDArray[Any] = np.fromfile(self.file, _DTYPES[self.dtype], count, offset=self.offset)
        if self.dtype == "BF16":  # the upper half of a float32
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.reshape(self.shape)


def list_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for everything in the file, in the order of its header.

    Raises TensorsUnreadable for a file that is cut off or damaged, and for a dtype that is not a float.
    Format: https://github.com/huggingface/safetensors#format
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy"):  # checks the header against the file's size, and that nothing overlaps
            pass
    except SafetensorError as fault:
        raise TensorsUnreadable(f"{path} is not a whole safetensors file: {fault}") from fault
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size), object_pairs_hook=partial(_once, path))
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _DTYPES:
            known = "F16, BF16, F32 and F64"
            raise TensorsUnreadable(f"{path}: tensor {name!r} is {entry['dtype']}; {known} are understood")
        yield name, Tensor(path, entry["dtype"], tuple(entry["shape"]), 8 + size + entry["data_offsets"][0])


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a mapping. Of two equal names another reader may take the other."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise TensorsUnreadable(f"{path}: a name stands twice in its header")
    return found
