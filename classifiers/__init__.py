"""Text -> scores: encoders, heads, calibration, training, evaluation. Knows no adapter, tenant, HTTP or LLM."""

from __future__ import annotations

from classifiers.calibrate import calibrate
from classifiers.calibration import Calibration
from classifiers.classifier import Classifier
from classifiers.encoders import Encoder, open_encoder
from classifiers.ensure import ensure
from classifiers.errors import ArtefactError, ClassifierError, EncoderError, RowError
from classifiers.evaluate import Report, evaluate
from classifiers.prediction import Neighbour, Prediction
from classifiers.progress import Progress
from classifiers.rows import Row, read_exemplars, read_rows
from classifiers.train import train

__all__ = [
    "ArtefactError",
    "Calibration",
    "Classifier",
    "ClassifierError",
    "Encoder",
    "EncoderError",
    "Neighbour",
    "Prediction",
    "Progress",
    "Report",
    "Row",
    "RowError",
    "calibrate",
    "ensure",
    "evaluate",
    "open_encoder",
    "read_exemplars",
    "read_rows",
    "train",
]
