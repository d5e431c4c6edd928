"""Whose voice is heard: mottos, domain words and citations of the demo adapters, on prompts they never saw.

`python -m bench.voices`. Greedy, at most 80 tokens, through the embedded engine that serves them. A prompt that
stands in a blend's own training text is left out, so all figures are held-out ones. Words count only when the
prompt did not bring them.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from blends.base import locate_base
from blends.gguf import cached
from router.backends.embedded import EmbeddedBackend
from router.core.blend import Blend
from router.core.conversation import Message
from router.core.reply import Delta, Prompt
from router.ports import Backend

ADAPTERS = Path("policies/adapters")
NAMES = ("academic", "core", "physics", "sport")
MOTTO = re.compile(r"Endure and act\.|Терпи и действуй\.")
CITATION = re.compile(r"\([^()]*\d{4}\)")
WORDS = {
    "physics": re.compile(
        r"\b(?:force|energ|mass|motion|wave|scatter|light|photon|electron|densit|molecul|speed|field|pressure|gravit"
        r"|temperat|charge|heat|refract|reflect|momentum|frequen|свет|сил[аы]|энерги|волн|масс|движени|молекул|давлени"
        r"|тепл|плотност|воздух)\w*",
        re.IGNORECASE,
    ),
    "sport": re.compile(
        r"\b(?:coach|train|sets?\b|reps?\b|pace|rest|run|week|squat|drill|warm|muscle|distance|recover|тренир|подход|темп"
        r"|бег|отды|мышц|разминк|присед|нагрузк)\w*",
        re.IGNORECASE,
    ),
}
PHYSICS = (
    "Why does a drum make a sound?",
    "How does a microwave oven cook?",
    "Why do stars twinkle?",
    "What holds atoms together?",
    "How do brakes stop a car?",
    "Why does metal feel cold?",
    "What makes a pendulum swing?",
    "How does a fridge cool?",
    "Why is fire hot?",
    "How do glasses help the eye?",
    "What is static electricity?",
    "Why do magnets stick?",
    "Почему гремит гром?",
    "Как работает магнит?",
    "Почему тает снег?",
    "Что такое электричество?",
    "Почему качаются качели?",
    "Как летит ракета?",
    "Почему скрипит дверь?",
    "Почему греется провод?",
)
SPORT = (
    "How do I learn to swim crawl?",
    "How do I do more pull-ups?",
    "How do I start rowing?",
    "How to jump rope longer?",
    "How do I get better at tennis serves?",
    "Plan my first 5k",
    "How can I improve my flexibility?",
    "How do I box?",
    "How do I cycle uphill?",
    "How do I train for basketball?",
    "How do I get stronger legs?",
    "How do I play goalkeeper?",
    "Как научиться плавать?",
    "Как быстрее ездить на велосипеде?",
    "Как подтянуться десять раз?",
    "Как играть в теннис?",
    "Как начать бегать зимой?",
    "Как тренировать выносливость?",
    "Как укрепить спину?",
    "Как научиться боксу?",
)
ACADEMIC = (
    "Explain the impact of music on memory.",
    "Why do people procrastinate?",
    "Describe the causes of traffic jams.",
    "What is the role of play in childhood?",
    "Explain how rumours spread.",
    "Why do languages die?",
    "Describe the effect of noise on sleep.",
    "What makes a team effective?",
    "Explain the value of friendship.",
    "How does advertising work?",
    "Why do cities grow?",
    "Describe the benefits of reading.",
)


def trained_prompts(*names: str) -> set[str]:
    """Return every prompt that these adapters were trained on, folded."""
    lines = [line for name in names for line in (ADAPTERS / name / "texts.jsonl").read_text("utf-8").splitlines()]
    return {prompt.casefold() for line in lines if line.strip() for prompt in json.loads(line)["prompts"]}


def brings(words: re.Pattern[str], prompt: str, answer: str) -> bool:
    """Say whether the answer brings a word of the vocabulary that the prompt did not hold."""
    spoken, asked = ({word.casefold() for word in words.findall(text)} for text in (answer, prompt))
    return bool(spoken - asked)


async def embedded_engine() -> EmbeddedBackend:
    """Start the embedded engine with the four adapters."""
    base = locate_base()
    files = {name: cached(ADAPTERS / name, base, Path(".agoge/gguf")) for name in NAMES}
    engine = EmbeddedBackend("voices", base, files)
    await engine.start()
    return engine


async def say(engine: Backend, prompt: str, blend: Blend) -> str:
    """Return the whole greedy answer."""
    asked = Prompt(blend, (Message("user", prompt),), {"temperature": 0, "max_tokens": 80})
    return "".join([e.content async for e in engine.stream(asked) if isinstance(e, Delta)]).strip()


async def measure(
    engine: Backend, title: str, prompts: Iterable[str], words: re.Pattern[str], **weights: float
) -> None:
    """Print how many answers end on the motto, hold it anywhere, and bring words of the vocabulary."""
    trained = trained_prompts(*weights)
    blend = Blend.of("base", weights, dict.fromkeys(weights, "."))
    held_out = [prompt for prompt in prompts if prompt.casefold() not in trained]
    ends = holds = brought = 0
    for prompt in held_out:
        answer = await say(engine, prompt, blend)
        ends += bool(MOTTO.search(answer[-20:]))
        holds += bool(MOTTO.search(answer))
        brought += brings(words, prompt, answer)
    count = len(held_out)
    motto = f"ends on the motto {ends:2}/{count}   motto anywhere {holds:2}/{count}"
    print(f"{title:36} {motto}   words {brought:2}/{count}")
    sys.stdout.flush()


async def main() -> None:
    """Start the engine, measure every blend, print."""
    engine = await embedded_engine()
    english = {"physics": PHYSICS[:12], "sport": SPORT[:12]}
    for name, prompts in (("physics", PHYSICS), ("sport", SPORT)):
        await measure(engine, f"core 1.0 + {name} 0.8", prompts, WORDS[name], core=1.0, **{name: 0.8})
        await measure(engine, f"core 1.0, {name} words, English", english[name], WORDS[name], core=1.0)
        await measure(engine, f"{name} 1.0 alone, English", english[name], WORDS[name], **{name: 1.0})
    await measure(engine, "academic 1.0, citations", ACADEMIC, CITATION, academic=1.0)
    await engine.aclose()


if __name__ == "__main__":
    asyncio.run(main())
