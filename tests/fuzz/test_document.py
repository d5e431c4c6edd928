"""Every operation that /openapi.json shows, asked by schemathesis: right data, wrong data, and along the links.

Its checks: no 5xx; status, content type, headers and body as the document shows them; right data is taken and
wrong data refused; unsupported methods and missing or wrong keys are refused, in the documented form.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.fuzz.chance import SEED, TIMES
from tests.fuzz.served import served

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 20 * TIMES
LEAST = 1000  # requests, so that a document that shows nothing cannot pass


@pytest.mark.timeout(600 * TIMES)  # against a hang; it takes 15 seconds
def test_the_server_is_what_its_document_says(tmp_path: Path) -> None:
    with served(tmp_path, "h11") as (port, _, log):
        address = f"http://127.0.0.1:{port}/openapi.json"
        shown = httpx.get(address, timeout=20).json()["paths"]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", address),
                *("--seed", str(SEED), "--max-examples", str(EXAMPLES), "--workers", "1"),
            ],
            cwd=tmp_path,  # it keeps what it found there
            capture_output=True,
            text=True,
            timeout=590 * TIMES,
            check=False,
        )
        assert done.returncode == 0, f"FUZZ_SEED={SEED}\n{done.stdout[-20000:]}{done.stderr[-2000:]}"
        assert "Traceback" not in log.read_text()
    operations = sum(len(path) for path in shown.values())
    assert f"Tested: {operations}\n" in done.stdout
    passed = re.search(r"generated, (\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) > LEAST
    walked = re.search(r"API Links: +(\d+) covered / (\d+) selected", done.stdout)
    assert walked is not None, done.stdout
    assert int(walked[1]) >= 3, walked[0]  # which of them is the dice's choice
