"""A classifier that fits its exemplars, whatever lies on disk. Knows when to train, not how."""

from __future__ import annotations

import logging
from pathlib import Path

from classifiers import artefact
from classifiers.calibrate import recalibrate, remark
from classifiers.classifier import Classifier
from classifiers.encoders import open_encoder
from classifiers.errors import ArtefactError
from classifiers.progress import Progress, silent
from classifiers.rows import read_exemplars
from classifiers.train import train

_log = logging.getLogger(__name__)


def ensure(
    folder: Path, exemplars_dir: Path, encoder_spec: str = "use", progress: Progress | None = None
) -> Classifier:
    """Load the artefact in `folder`, or train and save it when it is missing, refused or older than the
    exemplars.

    The exemplars are the truth and the artefact a cache of them: it is reused only while its rows are
    theirs and its encoder is the one asked for. Raises `RowError` for bad exemplars and `EncoderError` for a
    missing encoder. What the old artefact was trained by stays (topics or rows held out), and gates that it was
    calibrated with are calibrated anew (see `recalibrate`).
    """
    rows = read_exemplars(exemplars_dir)
    encoder = open_encoder(encoder_spec)
    try:
        classifier = Classifier.load(folder, encoder)
        if list(classifier.rows) == rows:  # both sorted
            return classifier
        reason = f"the exemplars in {exemplars_dir} changed"
    except ArtefactError as error:
        reason = str(error)
    _log.info("training the classifier: %s", reason)
    before = artefact.calibration_in(folder)
    say = progress or silent
    fitted = train(rows, encoder, progress=say, held_out=artefact.held_out_in(folder))
    classifier = recalibrate(fitted, before, say)
    if before is not None and classifier.calibration is not None:
        _log.warning("%s: %s", folder, remark(before, classifier.calibration))
    artefact.save(classifier, folder)
    return classifier
