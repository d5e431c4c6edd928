"""What can go wrong between a text and its scores. Knows no other module.

ClassifierError
├── RowError        labelled data that cannot be read or learned from: names file, line and what would be right
├── EncoderError    an encoder that is not installed, cannot be opened or cannot be exported faithfully
└── ArtefactError   a trained classifier on disk that is missing, damaged or made for something else
"""

from __future__ import annotations


class ClassifierError(Exception):
    """Anything this package refuses. The message says what is wrong and what would be right."""


class RowError(ClassifierError):
    """Labelled rows that are malformed, contradictory or too few."""


class EncoderError(ClassifierError):
    """An encoder cannot be opened, or does not do what its specification promises."""


class ArtefactError(ClassifierError):
    """A saved classifier cannot be used as it lies on disk."""
