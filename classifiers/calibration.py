"""What a calibration of gates found, as it is kept in the artefact and shown. Knows no rows and no classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Counts:
    """One language at one step: `wrong` of `routed` of `rows`. `upper` bounds the risk at the confidence asked
    for, in [0, 1], when only this step is looked at."""

    rows: int
    routed: int
    wrong: int
    upper: float

    @property
    def coverage(self) -> float:
        """Share of rows that were routed, in [0, 1]."""
        return self.routed / self.rows if self.rows else 0.0

    @property
    def risk(self) -> float:
        """Share of routed rows that were wrong, in [0, 1]; 0 where none was routed."""
        return self.wrong / self.routed if self.routed else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the risk-coverage table, by language. `level`: how likely a text at these gates is right, by the
    rows that laid them. `passed`: every language kept the bound, here and at each step from the first tested."""

    level: float
    passed: bool
    languages: Mapping[str, Counts]


@dataclass(frozen=True, slots=True)
class Tally:
    """One label at the chosen step, over all languages: evidence, but no guarantee of its own."""

    gate: float
    routed: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """Gates by label that keep P(wrong domain | routed) at or under `error` in every language, with `confidence`.

    `data` is the file of the calibration rows, None for the exemplars' own held-out scores; `rows_sha256` is
    the digest of those rows, `seen` how many of the file's rows were left out for being exemplars. `ignored`
    labels open no domain. `labels` is empty when no gates passed; testing began at step `start` of `table`.
    """

    error: float
    confidence: float
    ignored: tuple[str, ...]
    data: str | None
    rows_sha256: str
    seen: int
    fewest: int
    start: int
    labels: Mapping[str, Tally]
    table: tuple[Step, ...]

    @property
    def gates(self) -> dict[str, float]:
        """Label -> `at_least`; empty when no gates passed."""
        return {label: tally.gate for label, tally in self.labels.items()}

    @property
    def chosen(self) -> Step | None:
        """The row of the table that the gates come from."""
        return next((step for step in reversed(self.table) if step.passed), None)

    @property
    def obstacle(self) -> str | None:
        """Why no gates passed, in one line; None when some did."""
        if self.labels:
            return None
        step = self.table[self.start]
        said = [
            f"{lang}: {one.wrong} of {one.routed} routed rows wrong"
            + (f", at least {self.fewest} routed are needed" if one.routed < self.fewest else "")
            + (f", risk up to {one.upper:.3f}" if self.fewest <= one.routed else "")
            for lang, one in step.languages.items()
            if one.upper > self.error
        ]
        return (
            f"no gates keep the share of wrong domains under {self.error:g} with confidence {self.confidence:g} "
            f"({'; '.join(said)}); give more rows or a larger --error"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def from_json(value: Mapping[str, Any]) -> Calibration:
    """Read `as_json` back; raises `KeyError` or `TypeError` for anything else."""
    fields = dict(value)
    fields["ignored"] = tuple(fields["ignored"])
    fields["labels"] = {label: Tally(**tally) for label, tally in fields["labels"].items()}
    fields["table"] = tuple(
        Step(step["level"], step["passed"], {lang: Counts(**one) for lang, one in step["languages"].items()})
        for step in fields["table"]
    )
    return Calibration(**fields)
