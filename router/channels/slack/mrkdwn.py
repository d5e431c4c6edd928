"""Standard Markdown -> Slack's mrkdwn, for the places that take nothing else (sections, ephemerals, modals).

Source: docs.slack.dev, "Formatting message text". What Slack would read as a control sequence is escaped: the
only `<...>` in the result are links to http, https and mailto addresses. Knows no Slack call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from router.channels.slack.markdown import split

SECTION = 3000  # characters of a section's text, after escaping
_OPEN, _CLOSE, _BOLD = "\ue000", "\ue001", "\ue002"  # private letters: what is kept aside, and where bold ends
_PRIVATE = re.compile(f"[{_OPEN}{_CLOSE}{_BOLD}]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_CODE = re.compile(r"(?<!`)(`{1,3})(?!`)([^\n]{1,2000}?)(?<!`)\1(?!`)")
_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,500})\]\(\s*<?([^\s()<>]{1,1500}(?:\([^\s()<>]{0,200}\))?)>?[^()\n]{0,200}\)"
)
_BARE = re.compile(r"<((?:https?://|mailto:)[^\s<>|]{1,1500})>")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!~>|])")
_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s<>|]+\Z")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*")
_BULLET = re.compile(r"([ \t]*)[-*+][ \t]+(.*)")
_RULE = re.compile(r" {0,3}(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}")
_ROW = re.compile(r"[ \t]*\|.*\|[ \t]*")
_BOTH = re.compile(r"\*\*\*(?=\S)([^*\n]{1,2000}?)(?<=\S)\*\*\*")
_STRONG = re.compile(r"(\*\*|__)(?=\S)([^\n]{1,2000}?)(?<=\S)\1")
_EMPHASIS = re.compile(r"(?<![*\w])\*(?=[^\s*])([^*\n]{1,2000}?)(?<=\S)\*(?!\*)")
_STRUCK = re.compile(r"~~(?=\S)([^~\n]{1,2000}?)(?<=\S)~~")


def escape(text: str) -> str:
    """Return plain text as mrkdwn shows it: no character of it is a control character any more."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mrkdwn(markdown: str) -> str:
    """Return `markdown` as mrkdwn."""
    return "\n".join(_lines(_PRIVATE.sub("", markdown).split("\n")))


def sections(markdown: str) -> list[str]:
    """Return `markdown` as mrkdwn texts that each fit into a section."""
    found = []
    for part in split(markdown, SECTION - 100):
        text = mrkdwn(part)
        if not text.strip():
            continue
        if _units(text) <= SECTION:
            found.append(text)
        else:  # escaping made it longer: five characters for an ampersand
            smaller = [mrkdwn(piece) for piece in split(part, 500)]
            found += [piece for piece in smaller if piece.strip()]
    return found


def _units(text: str) -> int:
    """Return the length as UTF-16 counts it, the larger of the ways to count a character."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _lines(lines: list[str]) -> Iterator[str]:
    fence = ""
    table: list[str] = []
    for line in lines:
        mark = _FENCE.match(line)
        if table and (fence or not _ROW.fullmatch(line)):
            yield from _table(table)
            table = []
        if fence:
            closes = mark is not None and mark.group(1).startswith(fence) and not line.strip(" `~")
            fence = "" if closes else fence
            yield "```" if closes else escape(line)
        elif mark:
            fence = mark.group(1)
            yield "```"
        elif _ROW.fullmatch(line):
            table.append(line)
        else:
            yield _line(line)
    yield from _table(table)
    if fence:
        yield "```"


def _table(rows: list[str]) -> Iterator[str]:
    """Yield a table as code, where its columns stay under each other; a single row is text."""
    if len(rows) == 1:
        yield _line(rows[0])
    elif rows:
        yield from ["```", *(escape(row) for row in rows), "```"]


def _line(line: str) -> str:
    if _RULE.fullmatch(line):
        return "———"
    if heading := _HEADING.fullmatch(line):
        inner = _inline(heading.group(1)).replace("*", "")
        return f"*{inner}*" if inner.strip() else ""
    if bullet := _BULLET.fullmatch(line):
        return f"{bullet.group(1)}• {_inline(bullet.group(2))}"
    if line.lstrip(" ").startswith(">"):
        return "> " + _inline(line.lstrip(" ")[1:].lstrip(" "))
    return _inline(line)


def _inline(text: str) -> str:
    aside: list[str] = []

    def keep(made: str) -> str:
        aside.append(made)
        return f"{_OPEN}{len(aside) - 1}{_CLOSE}"

    text = _CODE.sub(lambda m: keep(f"`{escape(m.group(2).strip() or m.group(2))}`"), text)
    text = _LINK.sub(_linked(keep), text)
    text = _BARE.sub(lambda m: keep(f"<{escape(m.group(1))}>"), text)
    text = _ESCAPED.sub(lambda m: keep(escape(m.group(1))), text)
    text = escape(text)
    text = _BOTH.sub(rf"{_BOLD}_\1_{_BOLD}", text)
    text = _STRONG.sub(rf"{_BOLD}\2{_BOLD}", text)
    text = _EMPHASIS.sub(r"_\1_", text)
    text = _STRUCK.sub(r"~\1~", text).replace(_BOLD, "*")
    while _OPEN in text:  # what is kept aside may hold what was kept aside before
        text = re.sub(f"{_OPEN}([0-9]+){_CLOSE}", lambda m: aside[int(m.group(1))], text)
    return text


def _linked(keep: Callable[[str], str]) -> Callable[[re.Match[str]], str]:
    def link(match: re.Match[str]) -> str:
        label, address = match.group(1), match.group(2)
        if not _ADDRESS.match(address):
            return label  # a relative path, or a control sequence in disguise
        shown = escape(re.sub(r"[*_~|]", "", label)) or escape(address)
        return keep(f"<{escape(address)}|{shown}>")

    return link
