"""Exports any sentence-transformers model to ONNX, once. The one module that knows sentence-transformers and
torch.

Serving never comes here: `exported.py` opens what this writes. Knows nothing of labels.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from classifiers.encoders.exported import GRAPH, TOKENIZER, ExportedEncoder, Settings, arriving
from classifiers.encoders.text import bounded
from classifiers.errors import EncoderError

TOLERANCE = 1e-3
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Short, long, two scripts, digits, nothing: what a traced graph could get wrong about shapes and masks.
_PROBES = (
    "hi",
    "Why does time slow down near a massive object?",
    "Почему лёд плавает в воде, а не тонет?",
    "",
    "Solve 3x + 7 = 22, then explain every step to a ten-year-old. " * 40,
)


def export(model: str, target: Path) -> Path:
    """Export `model` (a local folder, a hub id, or `id@revision`) into the folder `target`, atomically;
    return it.

    The graph holds transformer, pooling, any dense layers and the normalisation. Raises `EncoderError` when
    the packages are missing, the model cannot be read or traced, or any component of the probe embeddings
    differs from torch by more than 1e-3: an unfaithful export is refused, not used.
    """
    loaded = _load(model)
    with arriving(target) as folder:
        try:
            _trace(loaded, folder / GRAPH)
        # the tracer fails with whatever the model's own code raises, and with protobuf's limit of 2 GB
        except Exception as error:
            raise EncoderError(
                f"st:{model}: cannot be exported to ONNX ({error}); choose another model"
            ) from error
        loaded.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
        prefix = loaded.prompts.get(loaded.default_prompt_name) or ""
        Settings(prefix=prefix, max_tokens=int(loaded.max_seq_length or 512), source=model).write(folder)
        _verify(loaded, folder, model)
    return target


def _load(model: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise EncoderError(
            "`st:` needs sentence-transformers: pip install -e '.[encoders]' in Agoge's folder"
        ) from error
    name, _, revision = model.partition("@") if not Path(model).exists() else (model, "", "")
    try:
        loaded = SentenceTransformer(
            name,
            device="cpu",
            revision=revision or None,
            model_kwargs={"attn_implementation": "eager"},  # the other attentions do not trace to ONNX
        )
    # the library raises whatever its loaders raise: OSError, ValueError, hub errors, safetensors errors
    except Exception as error:
        raise EncoderError(
            f"st:{model}: cannot be loaded ({error}); expected a model folder or a hub id"
        ) from error
    if not hasattr(loaded.tokenizer, "backend_tokenizer"):
        raise EncoderError(
            f"st:{model}: has no fast tokenizer, which serving needs; choose a model with tokenizer.json"
        )
    loaded.eval()
    return loaded


def _trace(loaded: Any, path: Path) -> None:
    import torch

    class Whole(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by mypy (pyproject)
        """All modules of the model as one function of token tensors."""

        def __init__(self) -> None:
            super().__init__()
            self.model = loaded

        def forward(self, *tensors: Any) -> Any:
            features: Any = dict(zip(names, tensors, strict=True))
            for module in self.model:
                features = module(features)
            return torch.nn.functional.normalize(features["sentence_embedding"], dim=-1)

    tokens = loaded.preprocess(["a short text", "and one that is a little longer than the first"])
    names = [name for name in _INPUTS if name in tokens]
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 1: "tokens"} for name in names}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns about every branch it freezes; _verify is the judge
        torch.onnx.export(
            Whole().eval(),
            tuple(tokens[name] for name in names),
            str(path),
            input_names=names,
            output_names=["embedding"],
            dynamic_axes=axes | {"embedding": {0: "batch"}},
            opset_version=17,
            dynamo=False,  # the other exporter needs onnxscript
        )


def _verify(loaded: Any, folder: Path, model: str) -> None:
    torch_vectors = np.asarray(loaded.encode([bounded(text) for text in _PROBES], normalize_embeddings=True))
    difference = float(np.abs(ExportedEncoder(folder).encode(_PROBES) - torch_vectors).max())
    if not difference <= TOLERANCE:  # written so that NaN is refused too
        raise EncoderError(
            f"st:{model}: the ONNX export differs from torch by {difference:.2g}, allowed {TOLERANCE:g}"
        )
