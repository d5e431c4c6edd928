"""promtool on what deploy/prometheus ships, and on what /metrics says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from router.sinks.metrics import MetricsSink
from tests.prometheus.conftest import SHIPPED
from tests.sinks.exposed import ONE_OF_EACH


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint-fatal", "agoge.rules.yml"),
        ("test", "rules", "agoge.rules.test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(binaries: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [binaries / "promtool", *words], cwd=SHIPPED, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_the_exposition_follows_the_conventions(binaries: Path) -> None:
    sink = MetricsSink("1.2.3")
    for fact in ONE_OF_EACH:
        sink.record(fact)
    done = subprocess.run(
        [binaries / "promtool", "check", "metrics"], input=sink.exposition(), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
