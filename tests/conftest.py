"""The shipped classifier, trained once for all tests that need the real one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A --data folder in which `classifier` is the shipped one: the first command that ran there trained it."""
    folder = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-m", "router.cli", "decide", "hello", "--data", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder
