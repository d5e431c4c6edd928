"""A conversation through the spine: what a turn inherits, what it costs, and what it can never open."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from router.caches.memory import MemoryCache
from router.core.conversation import Conversation, Message
from router.core.decision import Reason
from router.core.errors import Refused
from router.core.facts import CacheFailed
from router.core.scores import Scores
from router.service import Ask, Routed, Router
from router.wiring.reload import Loader
from router.wiring.settings import Settings
from tests.stage import SECRET
from tests.stubs import POLICY, Facts, SpeakingBackend, WordScorer, until, write_policy

TITLE = (
    "### Task:\nGenerate a concise, 3-5 word title summarizing the chat history.\n"
    "<chat_history>\n{}\n</chat_history>"
)
GUESSED = POLICY.replace("when: asked", "when: { label: essay, at_least: 0.5 }")


class Watched(MemoryCache):
    """Remembers the keys of every look-up; forgets everything when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_up: list[tuple[bytes, ...]] = []
        self.puts = 0

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.looked_up.append(tuple(keys))
        return await super().get_many(keys)

    async def put(self, key: bytes, value: bytes) -> None:
        await super().put(key, value)
        self.puts += 1


class HearingScorer(WordScorer):
    """Remembers what it was given to score."""

    def __init__(self) -> None:
        super().__init__(words={"sky": "physics", "неб": "physics", "marathon": "sport", "essay": "essay"})
        self.heard: list[str] = []

    async def score(self, text: str) -> Scores:
        self.heard.append(text)
        return await super().score(text)


async def stand(folder: Path, policy: str = POLICY) -> tuple[Router, HearingScorer, Watched, Facts]:
    engine = SpeakingBackend()
    settings = Settings(policy=write_policy(folder, policy), backends=dict.fromkeys(("first", "second"), "stub:"))
    facts, scorer, cache = Facts(), HearingScorer(), Watched()

    async def opener(address: object, policies: object, settings: object) -> SpeakingBackend:
        return engine

    state = await Loader(settings, scorer, facts.record, opener).load()
    return Router(state, scorer, cache, SECRET, (facts,)), scorer, cache, facts


def talk(*texts: str) -> Conversation:
    """Return a conversation of these user messages, each but the last one answered."""
    messages = [m for text in texts for m in (Message("user", text), Message("assistant", "..."))]
    return Conversation(tuple(messages[:-1]))


async def decide(router: Router, *texts: str, model: str | None = None) -> Routed:
    return await router.decide(Ask(talk(*texts), model))


async def test_a_follow_up_costs_one_look_up_for_two_keys_and_no_embedding(tmp_path: Path) -> None:
    router, scorer, cache, _ = await stand(tmp_path)
    await decide(router, "why is the sky blue")
    await until(lambda: cache.puts == 1)
    routed = await decide(router, "why is the sky blue", "tell me more")
    assert routed.decision.blend.weights == {"core": 1.0, "physics": 0.8}
    assert (routed.decision.inherited, routed.cache, routed.subject) == (1, "miss", "why is the sky blue")
    assert (len(cache.looked_up), len(cache.looked_up[1]), scorer.calls) == (2, 2, 1)
    assert cache.looked_up[1][1] == cache.looked_up[0][0], "the second key is the turn before's own"
    assert "subject inherited from 1 turn before" in routed.decision.why()


async def test_what_the_cache_forgot_is_worked_out_again_and_comes_out_the_same(tmp_path: Path) -> None:
    router, scorer, cache, _ = await stand(tmp_path)
    said = ["why is the sky blue", "thanks!", "mode: sport", "and in the evening?", "mode: auto", "tell me more"]
    for count in range(1, len(said) + 1):
        await decide(router, *said[:count])
        await until(lambda count=count: cache.puts == count)  # type: ignore[misc]
    remembered = await decide(router, *said, "why?")
    await cache.aclose()
    scorer.heard.clear()
    anew = await decide(router, *said, "why?")
    assert anew.decision == remembered.decision
    assert anew.decision.blend.weights == {"core": 1.0, "physics": 0.8}
    assert scorer.heard == ["and in the evening?", "why is the sky blue"], "newest first, and no more than needed"


async def test_a_memory_changes_no_decision(tmp_path: Path) -> None:
    """Random conversations with directives and chores in them: with the cache, and with none."""
    router, scorer, _, _ = await stand(tmp_path, GUESSED)
    forgetful = Router(router.state, patient := HearingScorer(), MemoryCache(max_entries=0), SECRET)
    lines = [
        *("why is the sky blue", "plan my marathon", "an essay on Rome", "colourless ideas sleep furiously here"),
        *("tell me more", "thanks!", "and the moon?", "", "🙂", TITLE.format("sky")),
        *("mode: sport", "mode: auto", "mode: physics tell me more", "mode: academic"),
    ]
    inherited = 0
    for seed in range(60):
        dice = random.Random(seed)
        said: list[str] = []
        for _ in range(8):
            said.append(dice.choice(lines))
            try:
                decision = (await decide(router, *said)).decision
            except Refused as error:
                with pytest.raises(type(error)):
                    await decide(forgetful, *said)
                continue
            await asyncio.sleep(0)  # lets it be stored
            assert (await decide(forgetful, *said)).decision == decision, said
            inherited += decision.inherited > 0
    assert inherited > 60
    assert scorer.calls < 0.6 * patient.calls, "the memory was used"


async def test_a_bare_directive_is_not_taken_for_the_wordless_turn_before_it(tmp_path: Path) -> None:
    """The engine sees the same messages, and neither has a text to classify."""
    router, _, cache, _ = await stand(tmp_path)
    said = ["why is the sky blue", "🙂"]
    assert (await decide(router, *said)).decision.label == "physics"
    await until(lambda: cache.puts == 1)
    off = await decide(router, *said, "mode: auto")
    assert (off.cache, off.decision.label) == ("miss", None)


async def test_a_directive_in_between_does_not_cut_the_subject(tmp_path: Path) -> None:
    router, _, _, _ = await stand(tmp_path)
    said = ["why is the sky blue", "mode: sport", "tell me more"]
    held = await decide(router, *said)
    assert (held.decision.blend.weights, held.decision.label) == ({"core": 1.0, "sport": 0.8}, "physics")
    released = await decide(router, *said, "mode: auto", "tell me more")
    assert released.decision.blend.weights == {"core": 1.0, "physics": 0.8}


async def test_inherited_scores_open_nothing_that_has_to_be_asked_for(tmp_path: Path) -> None:
    """Even a classifier that has a label of the same name: `asked` adapters have no gate."""
    router, scorer, _, _ = await stand(tmp_path)
    scorer.words["abstract"] = "academic"
    for said in (["an abstract on Rome"], ["an abstract on Rome", "tell me more"]):
        assert (await decide(router, *said)).decision.blend.weights == {"core": 1.0}


async def test_isolation_that_was_asked_for_is_neither_inherited_nor_left_by_a_follow_up(tmp_path: Path) -> None:
    router, _, _, _ = await stand(tmp_path)
    once = ["mode: academic why is the sky blue", "tell me more"]
    assert (await decide(router, *once[:1])).decision.blend.weights == {"academic": 1.0}
    assert (await decide(router, *once)).decision.blend.weights == {"core": 1.0, "physics": 0.8}
    held = ["why is the sky blue", "mode: academic", "tell me more", "thanks!"]
    assert (await decide(router, *held)).decision.blend.weights == {"academic": 1.0}


async def test_an_isolated_guess_stays_alone_in_its_follow_ups(tmp_path: Path) -> None:
    """A policy that lets the classifier isolate means the follow-ups too: the core must not join half way."""
    router, _, _, _ = await stand(tmp_path, GUESSED)
    said = ["an essay on Rome", "tell me more", "thanks!"]
    for count in range(1, 4):
        assert (await decide(router, *said[:count])).decision.blend.weights == {"academic": 1.0}
    assert (await decide(router, *said, "plan my marathon")).decision.blend.weights == {"core": 1.0, "sport": 0.8}


async def test_a_forged_turn_before_is_not_believed(tmp_path: Path) -> None:
    """Whoever can write to a shared cache puts another turn's sealed value under the key of the one before."""
    router, _, cache, facts = await stand(tmp_path)
    await decide(router, "plan my marathon")
    await until(lambda: cache.puts == 1)
    sealed = await cache.get(cache.looked_up[0][0])
    assert sealed is not None
    await decide(router, "why is the sky blue")
    await until(lambda: cache.puts == 2)
    await cache.put(cache.looked_up[1][0], sealed)
    routed = await decide(router, "why is the sky blue", "tell me more")
    assert routed.decision.label == "physics"
    assert len(facts.of(CacheFailed)) == 1


async def test_another_caller_s_turn_before_is_not_mine(tmp_path: Path) -> None:
    router, _, cache, _ = await stand(tmp_path, POLICY + "tenants: { acme: {} }\n")
    await decide(router, "why is the sky blue")
    await router.decide(Ask(talk("why is the sky blue", "tell me more"), None, {}, "acme"))
    assert not set(cache.looked_up[0]) & set(cache.looked_up[1])


async def test_a_chore_is_the_core_alone_and_costs_nothing(tmp_path: Path) -> None:
    router, scorer, cache, _ = await stand(tmp_path)
    routed = await decide(router, TITLE.format("USER: why is the sky blue\nUSER: mode: academic"))
    assert routed.decision.blend.weights == {"core": 1.0}
    assert (routed.decision.reason, routed.decision.label) == (Reason.CHORE, None)
    assert (scorer.calls, cache.looked_up, routed.reading.confirms) == (0, [], None)


async def test_a_chore_obeys_who_was_fixed_by_model(tmp_path: Path) -> None:
    router, _, _, _ = await stand(tmp_path)
    routed = await decide(router, TITLE.format("USER: hi"), model="academic")
    assert routed.decision.blend.weights == {"academic": 1.0}


async def test_a_chore_in_the_history_is_nobody_s_subject(tmp_path: Path) -> None:
    router, _, _, _ = await stand(tmp_path)
    routed = await decide(router, "why is the sky blue", TITLE.format("USER: marathon"), "tell me more")
    assert (routed.decision.label, routed.decision.inherited) == ("physics", 1)


@pytest.mark.parametrize("role", ["system", "developer", "tool", "assistant"])
async def test_only_what_the_user_says_is_a_subject(tmp_path: Path, role: str) -> None:
    router, scorer, _, _ = await stand(tmp_path)
    messages = (
        Message("system", "You coach marathon runners."),
        Message("user", "why is the sky blue"),
        Message(role, "marathon " * 100),
    )
    assert (await router.decide(Ask(Conversation(messages)))).decision.label == "physics"
    assert scorer.heard == ["why is the sky blue"]


STRANGE = [
    "",
    " \n ",
    "🙂🙂🙂",
    "?!",
    "42",
    "\u200b",
    "a" * 50_000,
    "Ж",
    "漢字",
    "\ud800",
    "\0",
    "مرحبا",
    "> ",
    "```",
    "<a-b>",
]


@pytest.mark.parametrize("text", STRANGE)
async def test_any_text_gets_a_decision_and_keeps_the_subject(tmp_path: Path, text: str) -> None:
    router, _, _, _ = await stand(tmp_path)
    alone = await decide(router, text)
    assert alone.decision.blend.weights == {"core": 1.0}
    after = await decide(router, "why is the sky blue", text)
    assert after.decision.blend.weights in ({"core": 1.0, "physics": 0.8}, {"core": 1.0})
    if not any(letter.isalpha() for letter in text):
        assert after.decision.label == "physics", "without a letter there is no new subject"


async def test_images_without_a_word_keep_the_subject(tmp_path: Path) -> None:
    router, scorer, _, _ = await stand(tmp_path)
    image = Message("user", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])
    assert (await router.decide(Ask(Conversation((image,))))).decision.label is None
    assert scorer.calls == 0
    messages = (Message("user", "why is the sky blue"), Message("assistant", "Rayleigh."), image)
    routed = await router.decide(Ask(Conversation(messages)))
    assert (routed.decision.label, routed.decision.inherited) == ("physics", 1)


async def test_a_prompt_of_100_000_characters_costs_an_embedding_of_a_thousand(tmp_path: Path) -> None:
    router, scorer, _, _ = await stand(tmp_path)
    filler = "Стороны договорились о нижеследующем. "
    short = await decide(router, filler * 210 + "почему небо голубое?")
    long = await decide(router, filler * 2640 + "почему небо голубое?")
    assert len(long.reading.messages[0].text) > 100_000
    assert len(scorer.heard[1]) <= 1.5 * len(scorer.heard[0])
    assert max(map(len, scorer.heard)) <= 1250
    assert short.decision.label == long.decision.label == "physics"


async def test_transliterated_russian_is_scored_as_russian(tmp_path: Path) -> None:
    router, scorer, _, _ = await stand(tmp_path)
    routed = await decide(router, "pochemu nebo goluboe")
    assert scorer.heard == ["почему небо голубое"]
    assert routed.decision.label == "physics"
    assert routed.reading.messages[0].text == "pochemu nebo goluboe", "the engine is told what was typed"


async def test_a_reloaded_policy_asks_anew(tmp_path: Path) -> None:
    """The turn before was decided under another revision: it is worked out again, under the new gates."""
    router, scorer, cache, _ = await stand(tmp_path)
    await decide(router, "why is the sky blue")
    await until(lambda: cache.puts == 1)
    profile = router.state.policies.profile("default", None)
    changed = replace(profile, revision="0" * 16)
    router.state = replace(
        router.state, policies=replace(router.state.policies, profiles={("default", None): changed})
    )
    routed = await decide(router, "why is the sky blue", "tell me more")
    assert (routed.decision.label, routed.decision.policy, scorer.calls) == ("physics", "0" * 16, 2)
