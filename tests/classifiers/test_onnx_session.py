"""onnxruntime, as we load it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_it_collects_nothing_about_the_machine_and_has_nothing_to_send(tmp_path: Path) -> None:
    """Left alone, version 1.32 writes `.cache/Microsoft/DeveloperTools/.onnxruntime/` into the home folder."""
    code = "from classifiers.encoders import open_encoder; open_encoder('use').encode(['hello'])"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []
