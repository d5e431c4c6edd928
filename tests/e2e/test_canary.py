"""The engine that everybody starts with proves its blends: llama.cpp, 4-bit weights, the shipped adapters."""

from __future__ import annotations

import json
from pathlib import Path

from tests.live import agoge


def test_the_demo_passes_its_own_canary(data: Path) -> None:
    done = agoge("blends", "canary", "--json", "--data", str(data))
    assert done.returncode == 0, done.stdout + done.stderr
    (engine,) = json.loads(done.stdout)["engines"]
    assert engine["engine"] == "embedded:"
    assert len(engine["findings"]) == 5
    assert all(finding["base"] > 0.5 for finding in engine["findings"])
