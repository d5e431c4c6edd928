"""docs/integrations.md: the snippets about batches and feedback, executed as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from classifiers import Row, read_rows
from router.outcomes.file import FileOutcomes
from tests.conftest import ROOT
from tests.snippets import AGOGE, snippets
from tests.stage import Stage, staged


def blocks(heading: str) -> list[tuple[str, str]]:
    """Return (language, code) of every block of a section."""
    return [(each.language, each.code) for each in snippets("docs/integrations.md") if each.section == heading]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, outcomes=FileOutcomes(tmp_path / ".agoge" / "outcomes.jsonl")) as live:
        yield live


async def execute(language: str, code: str, stage: Stage, folder: Path) -> str:
    code = code.replace(AGOGE, stage.url)
    us = f'agoge() {{ "{sys.executable}" -m router.cli "$@"; }}\n'
    command = (
        [sys.executable, "-c", code] if language == "python" else ["bash", "-euo", "pipefail", "-c", us + code]
    )
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_feedback(stage: Stage, tmp_path: Path) -> None:
    curl, python, teach = blocks("Feedback")
    assert AGOGE in curl[1]
    assert AGOGE in python[1]
    kept = json.loads(await execute(*curl, stage, tmp_path))
    assert (kept["object"], kept["verdict"], kept["decided"]) == ("agoge.outcome", "right", "sport")
    assert "'verdict': 'wrong', 'decided': 'physics'" in await execute(*python, stage, tmp_path)
    shown = await execute(*teach, stage, tmp_path)
    assert ["sport", "1", "0", "1"] in [line.split() for line in shown.splitlines()]
    assert read_rows(tmp_path / "new.jsonl") == [
        Row("sport", "en", "How long is a marathon?"),
        Row("sport", "en", "Who won the last skyrunning championship?"),
    ]


async def test_a_batch(stage: Stage, tmp_path: Path) -> None:
    (curl,) = blocks("Many decisions at once")
    told = json.loads(await execute(*curl, stage, tmp_path))["data"]
    assert [each["adapters"] for each in told] == [{"core": 1.0, "physics": 0.8}, {"core": 1.0}]
