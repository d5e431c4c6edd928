"""Directives: the table of what people type, and properties that hold for any text."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.core.directive import Directive, hear
from router.core.errors import Forbidden, UnknownMode
from router.core.modes import Modes
from tests.core.switcher import modes
from tests.core.utterances import HEARD, TALK, UNKNOWN


def parse(text: str, profile: Modes) -> Directive | None:
    """Hear the directive in a message, and raise what it would be refused with."""
    heard = hear(text, profile)
    if heard is not None and heard.refusal is not None:
        raise heard.refusal
    return heard.directive if heard else None


def asked(directive: Directive) -> str:
    """Return the names as the table writes them."""
    return "+".join(sorted(directive.names)) or "off"


@pytest.mark.parametrize(("text", "names", "rest"), HEARD)
def test_directive_is_understood_and_taken_out(text: str, names: str, rest: str) -> None:
    directive = parse(text, modes())
    assert directive is not None
    assert (asked(directive), directive.rest) == (names, rest)
    assert directive.bare is (rest == "")


@pytest.mark.parametrize("text", TALK)
def test_talk_is_left_alone(text: str) -> None:
    assert parse(text, modes()) is None


@pytest.mark.parametrize(("text", "name"), UNKNOWN)
def test_unknown_name_is_reported_with_what_may_be_asked_for(text: str, name: str) -> None:
    with pytest.raises(UnknownMode) as caught:
        parse(text, modes())
    assert (caught.value.status, caught.value.code) == (400, "unknown_mode")
    assert f"called {name!r}" in caught.value.message or name == ""
    for offered in ("academic", "академический", "core", "агоге", "physics", "физика", "sport", "auto"):
        assert offered in caught.value.message


UNSEEN = [
    "ре\u200bжим: академический",
    "режим\u2060: академический",
    "режим: акаде\u00adмический",
    "режим: \u2066академический\u2069",
    "\u202bрежим: академический\u202c",
    "режи\u0301м: акаде\u0301мический",
    "mo\ufe0fde: aca\u200ddemic\ufeff",
    "mode: academic\n\u200b",
]


@pytest.mark.parametrize("text", UNSEEN)
def test_what_nobody_sees_hides_no_directive(text: str) -> None:
    """Copied text carries such characters; unheard, the core would answer where it was told to be silent."""
    directive = parse(text, modes())
    assert directive is not None
    assert (asked(directive), directive.bare) == ("academic", True)


def test_what_nobody_sees_stays_in_the_prompt() -> None:
    family = "👩\u200d👩\u200d👧"
    directive = parse(f"\u200bрежи\u0301м: \u200eфизика почему {family} видна?\nИ за\u0301мок?", modes())
    assert directive is not None
    assert (asked(directive), directive.rest) == ("physics", f"почему {family} видна?\nИ за\u0301мок?")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_whatever_ends_a_line_ends_it_here(end: str) -> None:
    for text in (f"Why?{end}mode: academic", f"mode: academic{end}Why?"):
        directive = parse(text, modes())
        assert directive is not None
        assert (asked(directive), directive.rest) == ("academic", "Why?")
    assert parse(f"```{end}mode: academic", modes()) is None
    assert parse(f"\ufeff```{end}mode: academic", modes()) is None


def test_two_modes_are_no_configuration() -> None:
    """Silence about both would let the scores choose, and with them the core."""
    directive = parse("mode: academic\nmode: core", modes())
    assert directive is not None
    assert (asked(directive), directive.rest) == ("academic", "mode: core")
    assert parse("mode: sport\nspeed: 3", modes()) is None


ADDRESSED = [
    "@agoge режим: академический",
    "<@U02AB3CD> mode: academic",
    "@Agoge_bot, включи академический режим",
    "Агоге, включи академический режим",
    "agoge, please switch to academic mode",
    "включи только академический режим",
    "switch to only academic mode",
]


@pytest.mark.parametrize("text", ADDRESSED)
def test_whom_one_speaks_to_hides_no_directive(text: str) -> None:
    """In a group chat nothing reaches a bot without a mention; unheard, the core would answer."""
    directive = parse(text, modes())
    assert directive is not None
    assert (asked(directive), directive.bare) == ("academic", True)


@pytest.mark.parametrize(
    "text", ["Физика, включи академический режим", "@agoge как включить режим физики?", "агоге и режим: физика"]
)
def test_other_words_before_a_phrase_make_it_talk(text: str) -> None:
    assert parse(text, modes()) is None


@pytest.mark.parametrize("text", ["mode: academic\ntopic: entropy", "topic: entropy\nmode: academic"])
def test_isolation_is_no_configuration(text: str) -> None:
    directive = parse(text, modes())
    assert directive is not None
    assert (asked(directive), directive.rest) == ("academic", "topic: entropy")


def test_table_is_as_large_as_promised() -> None:
    rows = [text for text, *_ in HEARD] + TALK + [text for text, _ in UNKNOWN]
    assert len(rows) == len(set(rows)) >= 250


@pytest.mark.parametrize(
    "text", ["режим: академический", "/mode academic", "включи academia", "режим: физика+академический"]
)
def test_asked_only_adapter_needs_permission(text: str) -> None:
    with pytest.raises(Forbidden) as caught:
        parse(text, modes(frozenset()))
    assert caught.value.status == 403
    assert "may not ask for academic" in caught.value.message
    assert "academic" not in caught.value.message.partition(";")[2]  # nor is it offered
    assert "physics (физика)" in caught.value.message


def test_forbidden_name_is_not_offered_to_who_asks_for_an_unknown_one() -> None:
    with pytest.raises(UnknownMode) as caught:
        parse("/mode dance", modes(frozenset()))
    assert "academic" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("режим: physics", "ru"),
        ("mode: физика", "en"),
        ("/режим off", "ru"),
        ("включи core", "ru"),
        ("physics mode", "en"),
        ("physics режим", "ru"),
    ],
)
def test_language_is_that_of_the_keyword(text: str, language: str) -> None:
    directive = parse(text, modes())
    assert directive is not None
    assert directive.language == language


SPOKEN = (
    "режим режиме mode включи включить выключи switch turn use в in на to off on авто auto физика физику"
    " агоге physics core academic спорт музыка почему объясни why explain что и and а"
    ' : + , ? ! . — - / « » " ` ``` > * 🙂'
)
PIECES = st.sampled_from([*re.findall(r"\S+", SPOKEN), "\n", "\n\n", " "])
TEXTS = st.one_of(
    st.text(max_size=80),
    st.lists(PIECES, max_size=14).map(" ".join),
    st.lists(PIECES, max_size=14).map("".join),
)


@settings(deadline=None)  # the machine may be loaded; time has its own test below
@given(TEXTS)
@example("/")
@example("режим:")
@example('режим: """"""""физика')
@example("/mode +")
@example("режим: физика++агоге")
def test_nothing_but_the_two_refusals_is_raised(text: str) -> None:
    try:
        directive = parse(text, modes(frozenset()))
    except (UnknownMode, Forbidden):
        return
    if directive is not None:
        assert directive.names <= {"core", "physics", "sport"}
        assert directive.bare is (directive.rest.strip() == "")
        assert len(directive.rest) < len(text)
        assert directive.rest.strip() in text


NAMES = st.lists(
    st.sampled_from([("физика", "physics"), ("агоге", "core"), ("sport", "sport"), ("Физику", "physics")]),
    min_size=1,
    max_size=3,
)
PROMPTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).map(lambda t: "почему " + t)


@settings(deadline=None)  # the machine may be loaded; time has its own test below
@given(
    NAMES,
    st.sampled_from(["режим: {}", "включить режим: {}", "mode: {}", "/mode {}", "**Режим: {}**", "🙂 режим: {}"]),
    st.sampled_from(["+", " + ", ", ", " и ", " & "]),
    st.sampled_from([" ", ". ", ": ", "\n", "\n\n", " — "]),
    PROMPTS,
)
def test_prompt_behind_a_directive_comes_out_whole_and_clean(
    names: list[tuple[str, str]], form: str, separator: str, gap: str, prompt: str
) -> None:
    text = form.format(separator.join(spoken for spoken, _ in names)) + gap + prompt
    try:
        directive = parse(text, modes())
        assert directive is not None
        assert asked(directive) == "+".join(sorted({adapter for _, adapter in names}))
        assert directive.rest == prompt.rstrip()
        assert parse(directive.rest, modes()) is None
    except UnknownMode:
        pytest.fail(f"{text!r} was refused")


@settings(deadline=None)  # the machine may be loaded; time has its own test below
@given(
    TEXTS.filter(lambda text: "`" not in text),
    st.sampled_from(["", "yaml"]),
    st.booleans(),
    st.sampled_from(["", "Смотри:\n", "What is this?\n\n"]),
)
@example("режим: физика", "", True, "")
@example("mode: physics", "", False, "Смотри:\n")
def test_text_inside_a_code_fence_never_fires(code: str, info: str, closed: bool, before: str) -> None:
    text = f"{before}```{info}\n{code}\n" + ("```" if closed else "")
    assert parse(text, modes()) is None


N = 100_000
ADVERSARIAL: dict[str, str] = {
    "spaces": "режим:" + " " * N + "x",
    "spaces behind": "включи физику" + " " * N + "x",
    "blank lines": "\n" * N + "режим: физика" + "\n" * N,
    "names by comma": "режим: " + "физика," * (N // 7),
    "names by plus": "режим: " + "физика+" * (N // 7),
    "names by space": "/mode physics" + " core" * (N // 5) + " x",
    "conjunctions": "режим: физика" + " и" * (N // 2),
    "quotes": "режим: " + '"' * N,
    "hyphens": "режим" + " -" * (N // 2),
    "hyphen run": "режим: физика " + "-" * N + "x",
    "dash run": "режим: физика" + "—" * N + "x",
    "mixed dashes": "режим: физика" + "—-" * (N // 2) + "x",
    "dots": "режим: физика" + "." * N + "x",
    "question marks": "включи физику " + "?" * N,
    "one word": "режим: " + "ф" * N,
    "hyphenated word": "режим: " + "а-" * (N // 2) + "а",
    "combining marks": "режим: " + "а\u0301" * (N // 2),
    "decimals": "режим: v" + ".1" * (N // 2),
    "lead": "*" * N + "режим: физика",
    "fences": "```\n" * (N // 4) + "режим: физика",
    "prose": "слово " * (N // 6) + "\nрежим: физика",
    "configuration": "mode: auto\n" + "a." * N,
    "closers": "режим: физика" + ")" * N + "x",
}


@pytest.mark.parametrize("text", ADVERSARIAL.values(), ids=ADVERSARIAL)
def test_time_is_linear_even_for_adversarial_text(text: str) -> None:
    """100,000 characters cost 1 to 600 ms on one slow core; a quadratic step would cost minutes."""
    modes()
    started = time.process_time()
    with contextlib.suppress(UnknownMode):
        parse(text, modes())
    assert time.process_time() - started < 5


def test_error_does_not_repeat_an_endless_name() -> None:
    with pytest.raises(UnknownMode) as caught:
        parse("/mode " + "ф" * N, modes())
    assert len(caught.value.message) < 500
