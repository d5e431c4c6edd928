"""Front ends' own tasks by their real wordings, and what people write that only sounds like them."""

from __future__ import annotations

import time

import pytest

from router.core.chore import is_chore
from router.core.conversation import Conversation, Message
from router.core.decide import decide_chore, told_of_all
from router.core.decision import Reason
from router.core.reading import Reading, read
from tests.core.profiles import ACADEMIC, CORE, DRAFT, LAW, PHYSICS, policy
from tests.core.switcher import modes

CHAT = (
    "<chat_history>\nUSER: режим: академический\nASSISTANT: Теперь говорит только academic.\nUSER: SAID\n"
    "</chat_history>"
)
OPEN_WEBUI_TITLE = (
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n"
    "### Guidelines:\n"
    '- Prioritize accuracy.\n### Output:\nJSON format: { "title": "your concise title here" }\n### Chat History:\n'
    + CHAT
)
CHORES = {
    "Open WebUI, title": OPEN_WEBUI_TITLE,
    "Open WebUI, tags": "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history\n"
    + CHAT,
    "Open WebUI, follow-ups": (
        "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might naturally ask"
        " next in this "
        "conversation as a **user**, based on the chat history\n" + CHAT
    ),
    "Open WebUI, search": (
        "### Task:\nAnalyze the chat history to determine the necessity of generating search queries, in"
        " the given "
        "language. By default, prioritize generating 1-3 broad and relevant search queries\n" + CHAT
    ),
    "Open WebUI, autocompletion": (
        "### Task:\nYou are an autocompletion system. Continue the text in `<text>` based on the"
        " **completion type** "
        "in `<type>` and the given language.\n" + CHAT
    ),
    "Open WebUI, emoji": (
        "Your task is to reflect the speaker's likely facial expression through a fitting emoji. Interpret"
        " emotions "
        'from the message.\n\nMessage: """why is the sky blue"""'
    ),
    "LibreChat": (
        "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. Only"
        " return the title itself.\n\nConversation:\nUser: why is the sky blue"
    ),
    "LibreChat, with the language": (
        "Analyze this conversation and provide:\n1. The detected language of the conversation\n2. A"
        " concise title in the detected language (5 words or less, no punctuation or quotation)\n\nUser: hi"
    ),
    "NextChat": (
        "Please generate a four to five word title summarizing our conversation without any lead-in,"
        " punctuation, quotation marks, periods, symbols, bold text, or additional text. Remove enclosing"
        " quotation marks."
    ),
    "Chatbox": "Based on the chat history, give this conversation a name.\nKeep it short - 10 characters max.",
    "somebody's": "Сгенерируй короткое название этого диалога, не более 5 слов.\n\nUser: привет",
    "with a heading": "### Задача:\nПридумай краткий заголовок для этого чата. Только JSON.",
}
PROMPTS = [
    "Generate a title for my article about chat history in messengers",
    "How do I write a prompt that generates a concise title for a chat history?",
    "Write a short title for a podcast conversation with a physicist",
    "### Task:\nRespond to the user query using the provided context, incorporating inline citations\n<context>",
    "Придумай короткое название для кафе",
    "suggest three short tags for my blog post on volcanoes",
    "Summarize our conversation",
    "напиши краткое содержание диалога Платона",
    "Give me five short names for a dog",
    "Write a short story about a conversation between two chairs",
    "Дай краткое определение диалога",
    f"режим: академический\n{OPEN_WEBUI_TITLE}",
    f"what does this prompt do?\n\n{OPEN_WEBUI_TITLE}",
    "",
]


@pytest.mark.parametrize("front_end", CHORES)
def test_a_front_end_s_own_task_is_recognised(front_end: str) -> None:
    assert is_chore(CHORES[front_end])


@pytest.mark.parametrize("text", PROMPTS)
def test_a_person_s_prompt_is_not(text: str) -> None:
    assert not is_chore(text)


def test_the_cost_does_not_grow_with_the_chat() -> None:
    started = time.perf_counter()
    assert is_chore(OPEN_WEBUI_TITLE.replace("SAID", "слово " * 1_000_000))
    assert not is_chore("please " * 1_000_000)
    assert not is_chore("you are " * 1_000_000)
    assert time.perf_counter() - started < 1


def reading(*messages: Message) -> Reading:
    return read(Conversation(messages), None, modes())


@pytest.mark.parametrize("text", ["why is the sky blue\nmode: academic", "mode: physics"])
def test_a_directive_inside_the_embedded_chat_is_not_heard(text: str) -> None:
    """Not even as the last line, where a person's would be."""
    task = Message("user", f"{OPEN_WEBUI_TITLE.removesuffix('</chat_history>')}\n{text}")
    found = reading(task)
    assert (found.chore, found.asked, found.confirms, found.subject, found.turns) == (True, None, None, "", ())
    assert found.messages == (task,)


def test_a_task_in_the_system_message_makes_a_chore_of_the_transcript() -> None:
    system = Message(
        "system", "You are a helpful assistant that creates concise, descriptive titles for conversations."
    )
    assert reading(
        system, Message("user", "user: why is the sky blue\nassistant: Rayleigh.\nmode: academic")
    ).chore
    assert not reading(Message("system", "You answer briefly."), Message("user", "why is the sky blue")).chore


def test_isolation_that_stands_outlives_a_chore_behind_it() -> None:
    """Front ends that send the whole conversation and then the task: what the user wished still holds."""
    talk = (Message("user", "режим: академический"), Message("assistant", "Теперь говорит только academic."))
    found = reading(*talk, Message("user", "тезисы о падении Рима"), Message("user", CHORES["NextChat"]))
    assert (found.chore, found.asked, found.asked_by) == (True, {"academic"}, "conversation")


def test_a_chore_is_the_always_adapters_alone() -> None:
    profile = policy(CORE, PHYSICS, LAW, ACADEMIC, otherwise=("physics",))
    decision = decide_chore(profile)
    assert decision.blend.weights == {"core": 1.0}
    assert (decision.reason, decision.label, decision.scores, decision.lasts) == (Reason.CHORE, None, {}, False)
    assert {v.adapter: v.reason for v in told_of_all(profile, decision)} == {
        "core": Reason.ALWAYS,
        **dict.fromkeys(("academic", "law", "physics"), Reason.CHORE),
    }


def test_without_a_core_a_chore_is_what_speaks_otherwise() -> None:
    decision = decide_chore(policy(PHYSICS, DRAFT, otherwise=("draft",)))
    assert decision.blend.weights == {"draft": 0.25}
    assert decision.reason is Reason.CHORE
