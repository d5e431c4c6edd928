"""The frozen dialogues: what they are, and that following a conversation at least halves the errors on them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import classifiers
from bench.dialogues import FROZEN, Tally, read_dialogues, replay
from router.caches.memory import MemoryCache
from router.core.conversation import Conversation, Message
from router.core.subject import subject_of
from router.lemmas import RussianLemmatizer
from router.service import Ask, Router
from router.wiring.app import open_scorer
from router.wiring.reload import load_rules
from router.wiring.settings import Settings
from tests.stage import SECRET

ROOT = Path(__file__).resolve().parents[1]
DIALOGUES = read_dialogues(ROOT / FROZEN)
DOCUMENT = (ROOT / "docs/conversations.md").read_text("utf-8")
DEVELOPMENT = read_dialogues(ROOT / FROZEN.with_name("development.jsonl"))


@pytest.fixture(scope="module")
def router(data: Path) -> Iterator[Router]:
    """The shipped policy and exemplars."""
    settings = Settings(ROOT / "policies/default.yaml", ROOT / "policies/exemplars", data=data)
    scorer = asyncio.run(open_scorer(settings))
    state = asyncio.run(load_rules(settings, scorer, RussianLemmatizer()))
    yield Router(state, scorer, MemoryCache(), SECRET)
    scorer.close()


def test_the_frozen_part_is_what_the_documentation_says() -> None:
    assert len(DIALOGUES) >= 150
    assert {dialogue.lang for dialogue in DIALOGUES} == {"ru", "en"}
    assert 0.45 < sum(dialogue.lang == "ru" for dialogue in DIALOGUES) / len(DIALOGUES) < 0.55
    assert all(3 <= len(dialogue.turns) <= 8 for dialogue in DIALOGUES)
    labels = {row.label for row in classifiers.read_exemplars(ROOT / "policies/exemplars")}
    turns = [turn for dialogue in DIALOGUES for turn in dialogue.turns]
    assert {turn.label for turn in turns} == {*labels, None}
    assert all((turn.label is None) == (turn.kind == "directive") for turn in turns)
    assert {turn.kind for turn in turns} == {
        *(
            "opening",
            "follow-up",
            "shift",
            "return",
            "small talk",
            "directive",
            "directive with a prompt",
            "pasted",
        )
    }


def test_hardly_any_of_its_questions_was_taught_or_tuned_on() -> None:
    def folded(text: str) -> str:
        return re.sub(r"\W+", " ", text.lower()).strip()

    taught = {folded(row.text) for row in classifiers.read_exemplars(ROOT / "policies/exemplars")}
    tuned = {folded(turn.user) for dialogue in DEVELOPMENT for turn in dialogue.turns}
    asked = [folded(turn.user) for d in DIALOGUES for turn in d.turns if turn.kind in ("opening", "shift")]
    assert len(asked) > 250
    assert sum(text in tuned for text in asked) <= 0.01 * len(asked), "small talk that everybody says"
    assert sum(text in taught for text in asked) <= 0.02 * len(asked)


async def test_errors_are_at_least_halved_in_both_languages(router: Router) -> None:
    for lang in ("ru", "en"):
        alone, followed = Tally(), Tally()
        for dialogue in DIALOGUES:
            if dialogue.lang == lang:
                alone.add(await replay(router, dialogue, alone=True))
                followed.add(await replay(router, dialogue, alone=False))
        assert followed.wrong * 2 <= alone.wrong, (lang, followed.line(), alone.line())
        assert followed.switched * 3 <= alone.switched
        assert followed.late <= alone.late + 0.25 * followed.shifts, "the price of it"


async def test_the_table_of_the_documentation(router: Router) -> None:
    """docs/conversations.md shows a conversation; this is it."""
    table = re.findall(r"^\| `(.*)` \| (core.*|still.*|small.*|a new.*) \|$", DOCUMENT, re.MULTILINE)
    said = [text for cell, _ in table for text in cell.split("`, `")]
    assert len(said) == 8
    messages: list[Message] = []
    labels = []
    for text in said:
        messages += [Message("user", text), Message("assistant", "...")]
        labels.append((await router.decide(Ask(Conversation(tuple(messages[:-1]))))).decision.label)
    assert labels == [*["physics"] * 4, "cooking_travel", "cooking_travel", "general", "physics"]


@pytest.mark.parametrize("text", ["Привет! kak nakachat bitsuhu", "privet! kak nakachat bitsuhu, spasibo"])
async def test_a_greeting_hides_no_transliteration(router: Router, text: str) -> None:
    assert subject_of(text).text == "как накачать бицуху"
    assert (await router.decide(Ask(Conversation((Message("user", text),))))).decision.label == "sport"
