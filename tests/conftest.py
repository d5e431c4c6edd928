"""What all tests share: the shipped classifier, trained once, and how hypothesis looks for counterexamples.

`make test` tries the same examples every time, so that it says something about the change and not about the day;
`make fuzz` tries new ones, and more of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# No deadline in either: a busy machine is no fault of the code. Whoever promises a time measures work instead.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=1000, print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A --data folder in which `classifier` is the shipped one: the first command that ran there trained it."""
    folder = tmp_path_factory.mktemp("data")
    command = [sys.executable, "-m", "router.cli", "decide", "hello", "--data", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder
