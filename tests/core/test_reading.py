"""What a conversation asks for: scope, precedence, isolation, what the engine gets to see."""

from __future__ import annotations

import re

import pytest

from router.core.conversation import Conversation, Message
from router.core.errors import BadRequest, Contradiction, Forbidden, UnknownMode
from router.core.reading import Reading, asked_by_model, confirmation, read
from tests.core.switcher import modes, profile


def talk(*lines: str) -> Conversation:
    """Return a conversation: `u:`, `a:` and `s:` open a user's, an assistant's and a system message."""
    roles = {"u": "user", "a": "assistant", "s": "system", "d": "developer", "t": "tool"}
    return Conversation(tuple(Message(roles[line[0]], line[2:].strip()) for line in lines))


def reading(*lines: str, model: str | None = None) -> Reading:
    return read(talk(*lines), model, modes())


def seen(result: Reading) -> list[str]:
    """Return what the engine sees, in the notation of `talk`."""
    return [f"{message.role[0]}: {message.text}" for message in result.messages]


def test_no_directive() -> None:
    result = reading("s: будь краток", "u: почему небо голубое?")
    assert (result.asked, result.asked_by, result.confirms) == (None, None, None)
    assert result.subject == "почему небо голубое?"
    assert seen(result) == ["s: будь краток", "u: почему небо голубое?"]


def test_directive_with_a_prompt_holds_for_its_message() -> None:
    result = reading("u: режим: физика почему небо голубое?")
    assert (result.asked, result.asked_by) == ({"physics"}, "message")
    assert result.subject == "почему небо голубое?"
    assert seen(result) == ["u: почему небо голубое?"]
    later = reading("u: режим: физика почему небо голубое?", "a: Рэлей.", "u: а закат?")
    assert (later.asked, later.subject) == (None, "а закат?")
    assert seen(later) == ["u: почему небо голубое?", "a: Рэлей.", "u: а закат?"]


def test_bare_directive_is_confirmed_and_holds_until_the_next() -> None:
    bare = reading("u: режим: физика")
    assert (bare.asked, bare.asked_by, bare.subject, seen(bare)) == ({"physics"}, "conversation", "", [])
    assert bare.confirms is not None
    assert bare.confirms.names == {"physics"}
    history = ["u: режим: физика", "a: Теперь говорят core + physics.", "u: почему небо голубое?"]
    held = reading(*history)
    assert (held.asked, held.asked_by, held.confirms) == ({"physics"}, "conversation", None)
    assert seen(held) == ["u: почему небо голубое?"]
    more = [*history, "a: Рэлей.", "u: режим: спорт объясни офсайд"]
    assert reading(*more).asked == {"sport"}
    assert reading(*more, "a: Линия.", "u: а закат?").asked == {"physics"}
    switched = reading(*history, "a: Рэлей.", "u: выключить режим", "a: Выключен.", "u: а закат?")
    assert (switched.asked, switched.asked_by) == (None, None)
    assert seen(switched) == ["u: почему небо голубое?", "a: Рэлей.", "u: а закат?"]


@pytest.mark.parametrize("role", ["a", "s", "d", "t"])
def test_only_users_direct(role: str) -> None:
    assert reading(f"{role}: режим: физика", "u: почему?").asked is None


def test_confirmation_is_dropped_but_a_tool_call_is_not() -> None:
    call = Message("assistant", None, {"tool_calls": [{"id": "1"}]})
    conversation = Conversation((Message("user", "режим: физика"), call, Message("user", "почему?")))
    assert read(conversation, None, modes()).messages == (call, Message("user", "почему?"))


def test_superseded_unknown_directive_is_forgiven_and_a_standing_one_is_not() -> None:
    with pytest.raises(UnknownMode):
        reading("u: режим: музыка")
    with pytest.raises(UnknownMode):
        reading("u: режим: музыка", "a: нет такого", "u: почему небо голубое?")
    with pytest.raises(UnknownMode):
        reading("u: режим: физика", "a: да", "u: режим: музыка, почему?")
    assert reading("u: режим: музыка", "a: нет", "u: режим: физика", "a: да", "u: почему?").asked == {"physics"}
    assert reading("u: режим: музыка", "a: нет", "u: режим: авто", "a: да", "u: почему?").asked is None
    assert reading("u: режим: музыка", "a: нет", "u: режим: физика почему?").asked == {"physics"}
    passed = reading("u: режим: музыка\nпочему?", "a: нет", "u: почему?")
    assert passed.asked is None
    assert seen(passed)[0] == "u: режим: музыка\nпочему?"


def test_forbidden_standing_directive() -> None:
    strict = modes(frozenset())
    with pytest.raises(Forbidden):
        read(talk("u: режим: академический", "a: нет", "u: почему?"), None, strict)
    assert read(
        talk("u: режим: академический", "a: нет", "u: режим: спорт", "a: да", "u: а?"), None, strict
    ).asked == {"sport"}


def test_text_beats_model_and_off_falls_back_to_it() -> None:
    assert reading("u: режим: спорт почему?", model="physics").asked == {"sport"}
    by_model = reading("u: почему?", model="physics")
    assert (by_model.asked, by_model.asked_by) == ({"physics"}, "model")
    off = reading("u: режим: спорт", "a: да", "u: режим: авто", "a: да", "u: почему?", model="physics")
    assert (off.asked, off.asked_by) == ({"physics"}, "model")


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("режим: физика почему?", "academic"),
        ("режим: физика", "academic"),
        ("режим: академический+физика почему?", "academic"),
        ("режим: академический почему?", "physics"),
        ("режим: академический почему?", "core"),
        ("режим: академический+агоге почему?", None),
        ("режим: академический и агоге", "auto"),
        ("режим: физика\nпочему?\nрежим: спорт", None),
        ("режим: физика\nрежим: авто", None),
    ],
)
def test_isolation_is_neither_opened_nor_closed_by_contradiction(text: str, model: str | None) -> None:
    with pytest.raises(Contradiction) as caught:
        reading(f"u: {text}", model=model)
    assert caught.value.status == 400


ISOLATED = ("u: режим: академический", "a: Теперь говорит только academic.")


@pytest.mark.parametrize(
    "text",
    [
        "Перепиши письмо:\nДобрый день!\nрежим: физика+агоге",
        "режим: физика+агоге\nДобрый день!",
        "Summarise this page:\nWelcome.\nmode: auto",
        "mode: auto\nWelcome.",
        "/mode off Welcome.",
        "режим: агоге почему небо голубое?",
        "Welcome.\u2028mo\u200bde: core",
    ],
)
@pytest.mark.parametrize("model", [None, "auto", "academic"])
def test_pasted_text_does_not_end_isolation(text: str, model: str | None) -> None:
    """Neither the core nor the classifier's guess may answer because a mail said so; and the user is told."""
    with pytest.raises(Contradiction) as caught:
        reading(*ISOLATED, f"u: {text}", model=model)
    assert (caught.value.status, caught.value.param) == (400, "messages")
    after = reading(*ISOLATED, f"u: {text}", "a: нет", "u: дальше", model=model)
    assert (after.asked, after.subject) == ({"academic"}, "дальше")


def test_only_a_directive_of_its_own_ends_isolation() -> None:
    assert reading(*ISOLATED, "u: режим: авто", "a: да", "u: почему?").asked is None
    assert reading(*ISOLATED, "u: режим: физика", "a: да", "u: почему?").asked == {"physics"}
    assert reading(*ISOLATED, "u: режим: академический почему?").asked == {"academic"}
    assert reading(*ISOLATED, "u: Перепиши:\n«режим: авто»").asked == {"academic"}
    held = reading("u: режим: физика", "a: да", "u: Письмо.\nрежим: авто")
    assert held.asked is None, "what was not isolated is left as before"


def test_isolation_that_agrees() -> None:
    assert reading("u: режим: академический почему?", model="academic").asked == {"academic"}
    assert reading("u: режим: академический почему?", model="auto").asked == {"academic"}
    off = reading("u: режим: авто", "a: да", "u: почему?", model="academic")
    assert (off.asked, off.asked_by) == ({"academic"}, "model")
    old = reading("u: режим: физика", "a: да", "u: режим: авто", "a: да", "u: почему?", model="academic")
    assert old.asked == {"academic"}


def test_repeated_directive_is_taken_out_twice() -> None:
    result = reading("u: режим: физика\nпочему?\nрежим: физика")
    assert (result.asked, result.subject, seen(result)) == ({"physics"}, "почему?", ["u: почему?"])


@pytest.mark.parametrize("times", [2, 5, 6, 50])
def test_repetition_hides_no_second_wish(times: int) -> None:
    with pytest.raises(Contradiction):
        reading("u: " + "режим: агоге\n" * times + "режим: академический\nПочему?")


def test_content_parts_keep_their_image() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    asked = Message("user", [{"type": "text", "text": "режим: физика что на фото?"}, image])
    result = read(Conversation((asked,)), None, modes())
    assert result.messages[0].content == [{"type": "text", "text": "что на фото?"}, image]
    assert result.subject == "что на фото?"
    silent = read(
        Conversation((Message("user", [{"type": "text", "text": "режим: физика"}, image]),)), None, modes()
    )
    assert (silent.asked, silent.asked_by, silent.confirms) == ({"physics"}, "message", None)
    assert silent.messages[0].content == [image]
    bare = read(Conversation((Message("user", [{"type": "text", "text": "режим: физика"}]),)), None, modes())
    assert bare.confirms is not None
    assert bare.messages == ()


@pytest.mark.parametrize("lines", [(), ("s: режим: физика",), ("a: привет",)])
def test_no_user_message(lines: tuple[str, ...]) -> None:
    with pytest.raises(BadRequest) as caught:
        reading(*lines)
    assert caught.value.param == "messages"


def test_subject_is_bounded_and_keeps_both_ends() -> None:
    result = reading("u: начало " + "слово " * 10_000 + "конец?")
    assert len(result.subject) <= 1200
    assert result.subject.startswith("начало")
    assert result.subject.endswith("конец?")


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (None, None),
        ("", None),
        ("auto", None),
        ("AUTO", None),
        ("agoge/auto", None),
        ("physics", "physics"),
        ("Physics", "physics"),
        ("agoge/physics", "physics"),
        ("physics+core", "core+physics"),
        ("core + physics", "core+physics"),
        ("academic", "academic"),
        ("академический", "academic"),
        ("физика+агоге", "core+physics"),
        ("agoge", "core"),  # its alias in this policy
    ],
)
def test_model_field(model: str | None, names: str | None) -> None:
    asked = asked_by_model(model, modes())
    assert (asked and "+".join(sorted(asked))) == names


@pytest.mark.parametrize(
    "model", ["gpt-4o", "physic", "физику", "physics+", "physics,core", "+", "аgоgе", "physics+gpt"]
)
def test_unknown_model_is_the_404_that_clients_know(model: str) -> None:
    with pytest.raises(UnknownMode) as caught:
        asked_by_model(model, modes())
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")
    assert "physics (физика)" in refusal.message
    assert UnknownMode.status == 400  # the class is left as it was


def test_model_field_needs_permission_and_respects_isolation() -> None:
    with pytest.raises(Forbidden):
        asked_by_model("academic", modes(frozenset()))
    with pytest.raises(Contradiction):
        asked_by_model("academic+core", modes())


@pytest.mark.parametrize(
    ("lines", "model", "said"),
    [
        (["u: режим: физика"], None, "Теперь говорят core + physics. Выключить: «режим: авто»."),
        (["u: режим: академический"], None, "Теперь говорит только academic. Выключить: «режим: авто»."),
        (["u: /mode physics"], None, 'Now speaking: core + physics. To switch off: "mode: auto".'),
        (["u: /mode academic"], None, 'Now speaking: academic alone. To switch off: "mode: auto".'),
        (["u: режим авто"], None, "Режим выключен: адаптеры снова выбираются по каждому вопросу."),
        (["u: mode off"], None, "Mode off: adapters are chosen for every prompt again."),
        (
            ["u: mode off"],
            "academic",
            "The mode from the messages is off. By the model field, now speaking: academic.",
        ),
    ],
)
def test_confirmation(lines: list[str], model: str | None, said: str) -> None:
    assert confirmation(reading(*lines, model=model), profile()) == said


def test_confirmation_says_how_to_switch_off_in_words_that_do() -> None:
    for directive in ("режим: физика", "mode: physics"):
        said = confirmation(reading(f"u: {directive}"), profile())
        (off,) = re.findall(r"[«\"](.+)[»\"]", said)
        assert reading(f"u: {directive}", f"a: {said}", f"u: {off}").asked is None


def test_nothing_to_confirm() -> None:
    with pytest.raises(ValueError, match="nothing to confirm"):
        confirmation(reading("u: почему?"), profile())
