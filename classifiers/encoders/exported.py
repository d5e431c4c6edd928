"""Serves an exported sentence-transformers model: onnxruntime and tokenizers, no torch. Knows not how it was
exported.

An exported folder holds `model.onnx` (transformer, pooling and normalisation in one graph), `tokenizer.json`
and `encoder.json` ({format, prefix, max_tokens, source}).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from classifiers.encoders.onnx_session import Graph, sha256_of
from classifiers.encoders.protocol import Vectors
from classifiers.encoders.text import MAX_CHARACTERS, bounded
from classifiers.errors import EncoderError

GRAPH, TOKENIZER, SETTINGS = "model.onnx", "tokenizer.json", "encoder.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """What the graph itself does not say. `prefix` goes before every text, `max_tokens` bounds it."""

    prefix: str
    max_tokens: int
    source: str
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write `encoder.json` into an exported folder."""
        (folder / SETTINGS).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Read `encoder.json`; raises `EncoderError` when it is missing or of another format."""
        try:
            settings = cls(**json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            remedy = f"expected a folder with {GRAPH}, {TOKENIZER} and {SETTINGS}, as `st:` exports it"
            raise EncoderError(f"{folder}: not an exported encoder ({error}); {remedy}") from error
        if settings.format != FORMAT:
            raise EncoderError(f"{folder}: encoder format {settings.format}, expected {FORMAT}; export it again")
        return settings


@contextmanager
def arriving(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` in one rename when the block ends well, and else is gone."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
        folder = Path(scratch) / "encoder"
        folder.mkdir()
        yield folder
        try:
            folder.rename(target)
        except OSError:
            # Another process made the same first; its verified folder is as good as this one.
            if not target.is_dir():
                raise


class ExportedEncoder:
    """An exported folder, opened for encoding. Texts run one by one, so that no padding can touch a vector."""

    def __init__(self, folder: Path, spec: str | None = None) -> None:
        """Open an exported folder; `spec`, if any, is what opens it again, else `onnx:<folder>` does.

        Raises `EncoderError` when a file is missing or unreadable.
        """
        try:
            from tokenizers import Tokenizer  # here, because the embedded encoder must work without it
        except ImportError as error:
            raise EncoderError(
                "an exported encoder needs the package tokenizers: pip install tokenizers"
            ) from error
        settings = Settings.read(folder)
        for name in (GRAPH, TOKENIZER):
            if not (folder / name).is_file():
                raise EncoderError(f"{folder}: {name} is missing; export the model again")
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(settings.max_tokens)
        self._prefix = settings.prefix
        self._graph = Graph(folder / GRAPH)
        self.dim = self._graph.dim
        self.spec = spec or f"onnx:{folder}"
        self.id = f"onnx:{MAX_CHARACTERS}:{sha256_of(*(folder / name for name in (GRAPH, TOKENIZER, SETTINGS)))}"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode`."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for index, text in enumerate(texts):
            encoding = self._tokenizer.encode(self._prefix + bounded(text))
            known = {
                "input_ids": encoding.ids,
                "attention_mask": encoding.attention_mask,
                "token_type_ids": encoding.type_ids,
            }
            feeds = {name: np.array([known[name]], dtype=np.int64) for name in self._graph.inputs}
            vectors[index] = self._graph.run(feeds)[0]
        return vectors
