"""Where long answers are cut, and what Markdown becomes where Slack knows only its own mrkdwn."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.channels.slack.markdown import calm, cut, split
from router.channels.slack.mrkdwn import SECTION, escape, mrkdwn, sections

WORDS = st.sampled_from(
    [
        "word ",
        "Конец. ",
        "\n",
        "\n\n",
        "```\n",
        "```python\n",
        "~~~\n",
        "x = 1\n",
        "<!channel>",
        "&",
        "😀",
        "a" * 150,
    ]
)
TEXTS = st.one_of(st.text(max_size=2000), st.lists(WORDS, max_size=150).map("".join))


def fences(text: str) -> int:
    """Count the fences that are still open at the end of `text`, by CommonMark's rule for backticks and tildes."""
    opened = ""
    for line in text.split("\n"):
        mark = re.match(r" {0,3}(`{3,}|~{3,})([^`]*)$", line)
        if mark and not opened:
            opened = mark.group(1)
        elif mark and mark.group(1).startswith(opened) and not mark.group(2).strip():
            opened = ""
    return bool(opened)


@given(TEXTS, st.integers(200, 400))
@example("```" + "`" * 30 + "\n" + "x" * 500, 200)
@example("    ```\n" + "word " * 200, 200)
@settings(max_examples=300, deadline=None)
def test_parts_fit_lose_nothing_and_never_end_inside_a_fence(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert all(1 <= len(part) <= limit for part in parts)
    assert not any(fences(part) for part in parts[:-1])
    kept = lambda whole: re.sub(r"[\s`~]|python", "", whole)  # noqa: E731 - the fences that were added, and spaces
    assert kept("".join(parts)) == kept(text)


@given(TEXTS, st.integers(200, 400), st.integers(0, 150))
@settings(max_examples=200, deadline=None)
def test_what_was_shown_already_is_not_taken_back(text: str, limit: int, least: int) -> None:
    head, _ = cut(text, limit, least)
    assert head.startswith(text[:least])


def test_a_person_would_cut_there() -> None:
    paragraphs = "\n\n".join(f"Paragraph {n}. " + "More words. " * 8 for n in range(10))
    assert all(re.match(r"Paragraph \d\. ", part) for part in split(paragraphs, 300))
    sentences = "A short sentence here. " * 40
    assert all(part.startswith("A short") for part in split(sentences, 200))
    code = "Look:\n\n```python\n" + "print(1)\n" * 50 + "```\n\nThat was it."
    parts = split(code, 200)
    assert all(part.startswith("```python\n") for part in parts[1:-1])
    assert all("print(1)\n" * 2 in part for part in parts[:-1])
    assert split("", 200) == []
    assert split("short", 200) == ["short"]


def test_a_fence_that_fits_is_not_cut() -> None:
    text = "word " * 30 + "\n\n```\n" + "code\n" * 10 + "```\n" + "tail " * 20
    head, rest = cut(text, 200)
    assert head.strip() == ("word " * 30).strip()
    assert rest.startswith("```\ncode")


CASES = [
    ("**bold** and *italic* and ***both***", "*bold* and _italic_ and *_both_*"),
    ("__bold__ _italic_ ~~gone~~", "*bold* _italic_ ~gone~"),
    ("# Heading\ntext", "*Heading*\ntext"),
    ("### **Heading** with `code` #", "*Heading with `code`*"),
    ("[label](https://a.b/c?d=1&e=2)", "<https://a.b/c?d=1&amp;e=2|label>"),
    ("[**label**](https://a.b) and <https://c.d>", "<https://a.b|label> and <https://c.d>"),
    ("![image](https://a.b/c.png)", "<https://a.b/c.png|image>"),
    ("[in](https://en.wikipedia.org/wiki/Agoge_(Sparta))", "<https://en.wikipedia.org/wiki/Agoge_(Sparta)|in>"),
    ("[local](./file.md) [bad](javascript:alert)", "local bad"),
    ("- one\n* two\n  + three\n1. four", "• one\n• two\n  • three\n1. four"),
    ("> quoted **bold**", "> quoted *bold*"),
    ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
    ("`a < **b**`", "`a &lt; **b**`"),
    ("```python\nif a < b: **x**\n```", "```\nif a &lt; b: **x**\n```"),
    ("~~~\ncode\n~~~\ntext", "```\ncode\n```\ntext"),
    ("| a | b |\n| - | - |\n| 1 | 2 |\n\nend", "```\n| a | b |\n| - | - |\n| 1 | 2 |\n```\n\nend"),
    ("2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"),
    (r"\*not italic\* and 5 \< 6", r"*not italic* and 5 \&lt; 6"),
    ("---", "———"),
    ("Hello <!channel> <@U1> <#C1|general>", "Hello &lt;!channel&gt; &lt;@U1&gt; &lt;#C1|general&gt;"),
    ("[x](!channel) [y](<!here>)", "x y"),
    ("**жирный** и *курсив*", "*жирный* и _курсив_"),
    ("*a* **b** `c` [d](https://e.f) g", "_a_ *b* `c` <https://e.f|d> g"),
]


@pytest.mark.parametrize(("markdown", "expected"), CASES)
def test_markdown_as_slack_writes_it(markdown: str, expected: str) -> None:
    assert mrkdwn(markdown) == expected


MARKUP = st.lists(
    st.sampled_from(
        [
            *"*_~`[]()<>!|&#@\\\n- ",
            "**",
            "```",
            "http://a.b",
            "<!channel>",
            "<@U1>",
            "word",
            "](",
            "\ue000",
            "\ue0010",
            "\ue001",
            "\ue002",
        ]
    ),
    max_size=60,
).map("".join)


@given(st.one_of(MARKUP, st.text(max_size=300)))
@example("`\ue0000\ue001`")
@example("[`\ue0001\ue001`](http://a.b)[`<!here>`](http://a.b)")
@settings(max_examples=1000, deadline=None)
def test_nothing_becomes_a_control_sequence_but_links(markdown: str) -> None:
    """Slack reads `<...>` as control: only links may be there, and `&` only as an entity."""
    made = mrkdwn(markdown)
    left = re.sub(r"<(?:https?://|mailto:)[^\s<>|]+(?:\|[^<>|]*)?>", "", made)
    left = re.sub(r"(?m)^> ", "", left)
    assert "<" not in left
    assert ">" not in left
    assert re.sub(r"&(?:amp|lt|gt);", "", made).count("&") == 0
    assert not set(made) & set("\ue000\ue001\ue002")


@given(st.text(alphabet=st.characters(categories=["L", "N"], include_characters=" .,!?&<>"), max_size=200))
def test_plain_text_is_only_escaped(text: str) -> None:
    lines = text.split("\n")
    if not any(re.match(r"\s*(?:>|\d+[.)])|<(?:http|mailto)", line) for line in lines):
        assert mrkdwn(text) == escape(text)


@given(st.one_of(TEXTS, MARKUP, st.text("&<>😀", max_size=9000)))
@settings(max_examples=200, deadline=None)
def test_sections_fit(text: str) -> None:
    assert all(1 <= len(part.encode("utf-16-le")) // 2 <= SECTION for part in sections(text))


@pytest.mark.parametrize(
    "evil", ["**a ", "*a ", "[a](", "[", "`", "~~a ", "__a ", "<", "![", "\\", "***", "|", "a*", "_"]
)
def test_hostile_markup_takes_no_time(evil: str) -> None:
    started = time.process_time()
    mrkdwn(evil * (12_000 // len(evil)))
    split(evil * (60_000 // len(evil)), 12_000)
    assert time.process_time() - started < 2


@given(st.text("<!@#>ab", max_size=50))
def test_calm_text_calls_nobody(text: str) -> None:
    calmed = calm(text)
    assert not re.search("<[!@#]", calmed)
    assert calmed.replace("\u200b", "") == text
