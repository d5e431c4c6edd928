"""`agoge demo`: what it shows of an answer, a refusal and a stream that breaks."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from router.cli.demo import show
from router.core.errors import BackendBroken
from tests.stage import staged
from tests.stubs import SpeakingBackend


async def shown(url: str, prompt: str, capsys: pytest.CaptureFixture[str]) -> str:
    async with aiohttp.ClientSession() as session:
        await show(session, url, "a title", prompt)
    return capsys.readouterr().out


async def test_it_says_who_why_and_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with staged(tmp_path) as stage:
        said = await shown(stage.url, "why is the sky blue", capsys)
    assert "label     physics 0.90" in said
    assert "adapters  core x 1.0, physics x 0.8" in said
    assert "why       core: always; physics: physics 0.90 >= 0.50" in said
    assert "answer    core=1.0,physics=0.8 says why is the sky blue" in said


async def test_a_refusal_is_shown_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with staged(tmp_path) as stage:
        said = await shown(stage.url, "режим: алхимия", capsys)
    assert "refused" in said
    assert "алхимия" in said


@pytest.mark.parametrize("fails_after", [0, 1])
async def test_an_engine_that_fails_is_shown_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fails_after: int
) -> None:
    engine = SpeakingBackend(fails=BackendBroken("the GPU fell off"), fails_after=fails_after)
    async with staged(tmp_path, backends={"first": engine, "second": engine}) as stage:
        said = await shown(stage.url, "sky", capsys)
    assert "the GPU fell off" in said
