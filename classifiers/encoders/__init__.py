"""Encoders, and the specification strings that name them. Knows no label and no head."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from classifiers.encoders.protocol import Encoder, Vectors
from classifiers.errors import EncoderError

CACHE = Path(".agoge/encoders")

__all__ = ["CACHE", "Encoder", "Vectors", "open_encoder"]


def open_encoder(spec: str = "use", cache: Path = CACHE) -> Encoder:
    """Open an encoder by its specification.

    `use` is the embedded one; `st:<folder or hub id[@revision]>` exports a sentence-transformers model into
    `cache` on first use and serves the export from then on; `onnx:<folder>` serves an exported folder. Raises
    `EncoderError`.
    """
    kind, _, rest = spec.partition(":")
    if spec == "use":
        from classifiers.encoders.use import UseEncoder

        return UseEncoder()
    if kind == "onnx" and rest:
        from classifiers.encoders.exported import ExportedEncoder

        return ExportedEncoder(Path(rest))
    if kind == "st" and rest:
        from classifiers.encoders.exported import ExportedEncoder

        target = cache / _slot(rest)
        if not target.is_dir():
            from classifiers.encoders.sentence_transformers import export

            export(rest, target)
        return ExportedEncoder(target)
    raise EncoderError(f"unknown encoder {spec!r}; expected use, st:<folder or hub id> or onnx:<exported folder>")


def _slot(model: str) -> str:
    """Folder name of a model's export: readable, and another one when a local folder's files change."""
    identity = hashlib.sha256(model.encode("utf-8", "surrogatepass"))
    folder = Path(model)
    if folder.is_dir():
        # Sizes and times, not contents: hashing gigabytes at every start would cost more than a rare second
        # export.
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            facts = file.stat()
            identity.update(f"{file.relative_to(folder)}:{facts.st_size}:{facts.st_mtime_ns}\n".encode())
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.")[-48:]
    return f"{name}-{identity.hexdigest()[:12]}"
