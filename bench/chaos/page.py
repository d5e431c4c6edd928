"""Findings -> the page for users, `docs/faults.md`. Pure; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.chaos.run import Finding

_HEAD = """\
# What happens when ...
"""


def page(findings: Sequence[Finding], machine: Mapping[str, object], seconds: float) -> str:
    """Return the page."""
    return _HEAD
