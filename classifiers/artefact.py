"""A classifier as a folder on disk: written atomically, read suspiciously. Knows no training.

manifest.json (what it is, and every small number), head.npy (the regression's weights, float32), embeddings.npy
(the exemplars' codes, int8), axes.npy (the axes that were kept, where the encoder's vectors were shortened),
exemplars.jsonl (the rows, in the order of the vectors) and held_out.npz (what the rows scored when their topic was
left out of the fit). Arrays are read without pickle: nothing in the folder can run code.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from classifiers.calibration import Calibration, from_json
from classifiers.classifier import Classifier
from classifiers.encoders import Encoder, open_encoder
from classifiers.encoders.shortened import ShortenedEncoder
from classifiers.errors import ArtefactError, EncoderError
from classifiers.folds import SPLITS, TOPICS
from classifiers.head import Head
from classifiers.held_out import HeldOut
from classifiers.neighbourhood import Neighbourhood, directions
from classifiers.rows import digest, line_of, read_rows

FORMAT = 5
MANIFEST, HEAD, CODES, EXEMPLARS = "manifest.json", "head.npy", "embeddings.npy", "exemplars.jsonl"
AXES, HELD_OUT = "axes.npy", "held_out.npz"
_PROBES, _SAME = 3, 0.995


def manifest_of(classifier: Classifier) -> dict[str, Any]:
    """The manifest that `save` writes: plain JSON values."""
    rows, head, around = classifier.rows, classifier.head, classifier.neighbourhood
    short = classifier.encoder if isinstance(classifier.encoder, ShortenedEncoder) else None
    encoder = classifier.encoder if short is None else short.whole
    return {
        "format": FORMAT,
        "fingerprint": classifier.fingerprint,
        "encoder": {"id": encoder.id, "spec": encoder.spec, "dim": encoder.dim},
        "axes": None if short is None else short.dim,
        "labels": list(classifier.labels),
        "counts": {label: sum(row.label == label for row in rows) for label in classifier.labels},
        "rows_sha256": digest(rows),
        "head": {"bandwidth": head.bandwidth, "sharpness": head.sharpness, "power": head.power},
        "nearest": around.nearest,
        "limit": classifier.limit,
        "training": dict(classifier.training),
        "calibration": None if classifier.calibration is None else classifier.calibration.as_json(),
    }


def save(classifier: Classifier, folder: Path) -> None:
    """Write the artefact: everything into a temporary folder beside it, then one rename over what was there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        fresh, old = Path(scratch) / "new", Path(scratch) / "old"
        fresh.mkdir()
        (fresh / EXEMPLARS).write_text("".join(map(line_of, classifier.rows)), encoding="utf-8")
        np.save(fresh / CODES, classifier.neighbourhood.codes, allow_pickle=False)
        if isinstance(classifier.encoder, ShortenedEncoder):
            np.save(fresh / AXES, classifier.encoder.axes, allow_pickle=False)
        held_out = classifier.held_out
        np.savez(fresh / HELD_OUT, scores=held_out.scores, strangeness=held_out.strangeness)
        np.save(fresh / HEAD, classifier.head.weights, allow_pickle=False)
        text = json.dumps(manifest_of(classifier), indent=2, ensure_ascii=False) + "\n"
        (fresh / MANIFEST).write_text(text, encoding="utf-8")
        if folder.exists():
            if not (folder / MANIFEST).is_file() and any(folder.iterdir()):
                raise ArtefactError(f"{folder}: holds other files and no {MANIFEST}; give an empty or new folder")
            folder.rename(
                old
            )  # a folder cannot be renamed over a full one; the scratch folder takes the old one away
        try:
            fresh.rename(folder)
        except OSError:
            if old.exists() and not folder.exists():
                shutil.move(old, folder)
            raise


def load(folder: Path, encoder: Encoder | None = None) -> Classifier:
    """Read an artefact back; `encoder` None opens the one that the manifest names.

    Raises `ArtefactError` when a file is missing or damaged, or when format, encoder, labels or
    fingerprint are not what the manifest says; the message says how to train anew. Raises
    `EncoderError` when the encoder itself cannot be opened.
    """
    manifest = read_manifest(folder)
    try:
        encoder = encoder or open_encoder(manifest["encoder"]["spec"])
        _require(folder, "encoder", manifest["encoder"]["id"], encoder.id)
        if manifest["axes"] is not None:
            encoder = _shortened(encoder, np.load(folder / AXES, allow_pickle=False), manifest["axes"])
        rows = tuple(read_rows(folder / EXEMPLARS))
        if list(rows) != sorted(rows):
            raise ValueError(f"{EXEMPLARS} is not in the order of its vectors")
        codes = np.load(folder / CODES, allow_pickle=False)
        labels = tuple(manifest["labels"])
        weights = np.load(folder / HEAD, allow_pickle=False)
        if weights.shape != (len(labels), len(rows)) or codes.shape != (len(rows), encoder.dim):
            sizes = f"{len(labels)} labels, {len(rows)} rows and {encoder.dim} axes"
            raise ValueError(f"{HEAD} holds {weights.shape} and {CODES} {codes.shape} for {sizes}")
        found = manifest["calibration"]
        classifier = Classifier(
            encoder=encoder,
            head=Head(labels, weights, **manifest["head"]),
            neighbourhood=Neighbourhood(codes, manifest["nearest"]),
            limit=manifest["limit"],
            rows=rows,
            held_out=_held_out(folder / HELD_OUT, (len(rows), len(manifest["labels"]))),
            training=manifest["training"],
            calibration=None if found is None else from_json(found),
        )
        _require(folder, "labels", manifest["labels"], sorted({row.label for row in rows}))
        _require(folder, "fingerprint", manifest["fingerprint"], classifier.fingerprint)
    except (ArtefactError, EncoderError):
        raise
    # numpy and json raise many kinds for a damaged file, and every one means the same here
    except Exception as error:
        raise ArtefactError(f"{folder}: damaged ({type(error).__name__}: {error}); {_REMEDY}") from error
    _require_same_vectors(folder, classifier)
    return classifier


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check `manifest.json` alone; raises `ArtefactError`."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtefactError(f"{folder}: no classifier here ({MANIFEST} is missing); {_REMEDY}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{folder}: {MANIFEST} cannot be read ({error}); {_REMEDY}") from error
    if not isinstance(manifest, dict):
        raise ArtefactError(f"{folder}: {MANIFEST} is not a JSON object; {_REMEDY}")
    _require(folder, "format", manifest.get("format"), FORMAT)
    for key in (
        "fingerprint",
        "encoder",
        "axes",
        "labels",
        "rows_sha256",
        "head",
        "nearest",
        "limit",
        "training",
        "calibration",
    ):
        if key not in manifest:
            raise ArtefactError(f"{folder}: {MANIFEST} has no {key!r}; {_REMEDY}")
    return manifest


def calibration_in(folder: Path) -> Calibration | None:
    """The calibration of an artefact, even of one that is otherwise refused; None where none can be read."""
    try:
        return from_json(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["calibration"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def held_out_in(folder: Path) -> str:
    """What an artefact was trained by, topics or rows; topics where none can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["training"]["held_out"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return TOPICS
    return found if found in SPLITS else TOPICS


_REMEDY = "train it with `agoge classifier train`"


def _require(folder: Path, what: str, found: object, expected: object) -> None:
    if found != expected:
        raise ArtefactError(f"{folder}: made with {what} {found!r}, here it is {expected!r}; {_REMEDY}")


def _shortened(encoder: Encoder, axes: Any, dim: int) -> Encoder:
    if axes.shape != (dim, encoder.dim):
        raise ValueError(f"{AXES} holds {axes.shape}, expected {(dim, encoder.dim)}")
    return ShortenedEncoder(encoder, axes)


def _held_out(file: Path, shape: tuple[int, int]) -> HeldOut:
    with np.load(file, allow_pickle=False) as arrays:
        held_out = HeldOut(arrays["scores"], arrays["strangeness"])
    if held_out.scores.shape != shape or held_out.strangeness.shape != shape[:1]:
        raise ValueError(f"{HELD_OUT} holds {held_out.scores.shape}, expected {shape}")
    return held_out


def _require_same_vectors(folder: Path, classifier: Classifier) -> None:
    """The same weights may still compute other vectors: another processor's int8 kernels, another onnxruntime."""
    chosen = range(0, len(classifier.rows), max(1, len(classifier.rows) // _PROBES))[:_PROBES]
    encoded = classifier.encoder.encode([classifier.rows[index].text for index in chosen])
    cosine = float(np.vecdot(encoded, directions(classifier.neighbourhood.codes[list(chosen)])).min())
    if not cosine >= _SAME:
        raise ArtefactError(f"{folder}: its exemplars encode differently here (cosine {cosine:.4f}); {_REMEDY}")
