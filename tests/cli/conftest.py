"""A classifier that is trained once for all command line tests that need the real one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A --data folder with a trained classifier in it."""
    folder = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-m", "router.cli", "decide", "hello", "--data", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder
