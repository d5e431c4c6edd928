"""Isolated speech in Slack: the core has no part in it, whatever fails on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.core.errors import BackendTimeout
from router.core.reply import Inventory
from tests.channels.slack.scene import scene
from tests.stubs import POLICY, SpeakingBackend


def everyone() -> dict[str, SpeakingBackend]:
    return {"first": SpeakingBackend(), "second": SpeakingBackend()}


async def test_an_isolated_thread_stays_isolated_until_a_bare_directive_ends_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        root = (await play.asks("режим: академический"))["ts"]
        await play.asks("Why is the sky blue?", thread=root)
        await play.asks("and the marathon?", thread=root)
        assert [prompt.blend.weights for prompt in play.backend.prompts] == [{"academic": 1.0}] * 2
        assert all(prompt.blend.alone for prompt in play.backend.prompts)
        said = play.slack.own()[-1]
        assert said["blocks"][0]["elements"][0]["text"] == "academic alone · you chose it"
        await play.asks("режим: авто\nWhy is the sky blue?", thread=root)  # pasted text may say that
        assert len(play.backend.prompts) == 2
        assert "academic speaks alone" in play.slack.own()[-1]["text"]


async def test_where_no_engine_holds_it_nobody_speaks(tmp_path: Path) -> None:
    without = Inventory(sums=frozenset({"core", "physics", "sport"}))
    engines = {"first": SpeakingBackend(holds=without), "second": SpeakingBackend(holds=without)}
    async with scene(tmp_path, backends=engines) as play:
        await play.asks("режим: академический\nWhy is the sky blue?")
        (notice,) = play.slack.own()
        assert notice["text"] == (
            "⚠️ Сейчас ни один движок не может подать academic в одиночку, а замены не будет. Попробуйте позже."
        )
        assert [prompt for engine in engines.values() for prompt in engine.prompts] == []


async def test_a_stand_in_never_speaks_for_it_and_says_so_when_it_speaks_for_others(tmp_path: Path) -> None:
    stand_in = SpeakingBackend(holds=Inventory(stand_in=True))
    engines = {"first": stand_in, "second": SpeakingBackend(holds=Inventory())}
    async with scene(tmp_path, backends=engines) as play:
        await play.asks("mode: academic\nWhy is the sky blue?")
        assert stand_in.prompts == []
        await play.asks("Why is the sky blue?")
        answer = play.slack.own()[-1]
        assert answer["blocks"][0]["elements"][0]["text"].startswith("a stand-in answered: no adapter took part")
        assert "context_actions" not in [block["type"] for block in answer["blocks"]]  # nothing of ours to judge


async def test_a_failing_engine_is_not_replaced_by_the_core(tmp_path: Path) -> None:
    for after in (0, 2):
        engines = everyone()
        for engine in engines.values():
            engine.fails, engine.fails_after = BackendTimeout("slow"), after
        async with scene(tmp_path, backends=engines) as play:
            await play.asks("mode: academic\nWhy is the sky blue?")
            asked = [prompt.blend.weights for engine in engines.values() for prompt in engine.prompts]
            assert asked
            assert all(weights == {"academic": 1.0} for weights in asked)
            assert "did not answer in time" in play.slack.own()[-1]["text"]


@pytest.mark.parametrize("code", ["missing_scope", "not_in_channel", "internal_error"])
async def test_a_thread_whose_history_cannot_be_read_is_not_answered(tmp_path: Path, code: str) -> None:
    """Its directive may say `academic`: answering without it could let the core speak."""
    async with scene(tmp_path) as play:
        root = (await play.asks("mode: academic"))["ts"]
        play.slack.always["conversations.replies"] = code
        await play.asks("Why is the sky blue?", thread=root)
        assert play.backend.prompts == []
        assert code in play.slack.own()[-1]["text"]


async def test_half_a_thread_is_not_answered(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        root = (await play.asks("mode: academic"))["ts"]
        for index in range(12):
            play.slack.says(f"filler {index}", thread=root)
        play.slack.page = 1
        await play.asks("Why is the sky blue?", thread=root)
        assert play.backend.prompts == []
        assert "too long" in play.slack.own()[-1]["text"]


async def test_a_tenant_gets_only_what_it_may_ask_for(tmp_path: Path) -> None:
    async with scene(tmp_path, policy=POLICY + "may_ask: []\n") as play:
        await play.asks("mode: academic\nWhy is the sky blue?")
        assert play.backend.prompts == []
        assert "may not ask for academic" in play.slack.own()[-1]["text"]
