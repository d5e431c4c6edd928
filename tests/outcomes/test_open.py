"""Which store the command line's text means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from router.outcomes import open_outcomes

DATA = Path("data")


@pytest.mark.parametrize(
    ("spec", "cache", "shown"),
    [
        (None, "memory:", "FileOutcomes(data/outcomes.jsonl)"),
        (None, "none:", "FileOutcomes(data/outcomes.jsonl)"),
        (None, "redis://u:hunter2@h:7/3?ttl=60&timeout=0.1", "RedisOutcomes(redis://h:7/3, agoge:outcomes)"),
        (None, "unix:///run/s?db=2&ttl=60", "RedisOutcomes(unix:///run/s, agoge:outcomes)"),
        ("elsewhere.jsonl", "redis://h", "FileOutcomes(elsewhere.jsonl)"),
        ("rediss://:hunter2@h", "memory:", "RedisOutcomes(rediss://h:6379/0, agoge:outcomes)"),
        ("none:", "redis://h", "None"),
    ],
)
def test_a_store_is_what_was_said_else_where_the_cache_is(spec: str | None, cache: str, shown: str) -> None:
    assert repr(open_outcomes(spec, cache, DATA)) == shown


@pytest.mark.parametrize(
    "spec", ["", "http://h", "redis://", "redis://:hunter2@h:port", "redis://:hunter2@h?ttl=5"]
)
def test_what_is_no_store_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="redis://host:6379/0") as caught:
        open_outcomes(spec)
    assert "hunter2" not in str(caught.value)


def test_a_file_needs_no_redis_client() -> None:
    code = (
        "import sys; from router.outcomes import open_outcomes; open_outcomes(None); print('redis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
