"""A user's explicit wish inside a message: find it, understand it, take it out. Knows no history and no roles.

A directive stands at the start of a message (its prompt behind it on the same line or below), or is the whole
first or last non-empty line. Characters that nobody sees do not hide it, and any line separator ends a line. The
grammar of the phrase itself is in `clause.py`. Never read: a line that opens with a quotation mark, a backtick or
`>`; a last line inside a code fence or indented as code; `mode: fast` next to another `key: value` line, which is
pasted configuration (the name of an isolated adapter never is). The cost is linear in the length of the text, and
without a sign of a directive in its first and last lines next to nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from router.core.clause import Clause, read_clause
from router.core.errors import Refused
from router.core.modes import Modes
from router.core.vocabulary import SIGN
from router.core.words import behind, fold, lines, skeleton, visible

REACH = 200
"""Characters of a line in which a directive must show itself; a last line longer than this is prose."""

Language = Literal["ru", "en"]

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_CONFIGURATION = re.compile(r"\s*+(?:-\s++)?[a-z_][a-z0-9_.-]*+\s*+[:=]\s*+\S++\s*+")
_BLANK_LINES = re.compile(r"(?:[^\S\n]*+\n)*+")


@dataclass(frozen=True, slots=True)
class Directive:
    """What the user asked for. `names` are adapters, none for off; `rest` is the text without the directive.

    `bare`: nothing but the directive was said, so it holds for the conversation. `language` is its own.
    """

    names: frozenset[str]
    rest: str
    bare: bool
    language: Language


@dataclass(frozen=True, slots=True)
class Heard:
    """A directive before anybody judged it: `refusal` is what is wrong with it, None when it may be followed."""

    directive: Directive
    refusal: Refused | None


def hear(text: str, modes: Modes) -> Heard | None:
    """Return the directive in a user's message, None when there is none.

    Its refusal, if any, is UnknownMode when it names nobody known, Forbidden when the caller may not ask for that
    adapter; it is returned and not raised, because a later directive may supersede it.
    """
    broken = lines(text)
    return _hear_first(text, broken, modes) or _hear_last(text, broken, modes)


def _hear_first(text: str, broken: str, modes: Modes) -> Heard | None:
    start = len(text) - len(text.lstrip())
    newline = broken.find("\n", start)
    line = text[start:] if newline < 0 else text[start:newline]
    if (clause := _clause(line, modes)) is None:
        return None
    below = "" if newline < 0 else text[newline + 1 :]
    if _are_configuration(clause, modes, line, lines(below).lstrip("\n").partition("\n")[0]):
        return None
    on_line = line[clause.end :]
    rest = text[start + clause.end :] if on_line.strip() else _BLANK_LINES.sub("", below, count=1)
    return _judged(clause.names, clause.unknown, rest.rstrip(), clause.language, modes)


def _hear_last(text: str, broken: str, modes: Modes) -> Heard | None:
    body = text.rstrip()
    broken = broken[: len(body)]
    newline = broken.rfind("\n")
    line = body[newline + 1 :]
    above = body[: max(newline, 0)]
    if not above.strip() or len(line) > REACH or line.startswith(("    ", "\t")):
        return None
    clause = _clause(line, modes)
    if clause is None or clause.end < len(line):
        return None
    before = broken[: max(newline, 0)]
    if _are_configuration(clause, modes, line, before[before.rfind("\n") + 1 :]):
        return None
    if _in_fence(visible(before)):
        return None
    return _judged(clause.names, clause.unknown, above.rstrip(), clause.language, modes)


def _judged(names: frozenset[str], unknown: str | None, rest: str, language: Language, modes: Modes) -> Heard:
    refusal = modes.refusal(names) if unknown is None else modes.unknown(unknown)
    return Heard(Directive(names, rest, not visible(rest).strip(), language), refusal)


def _clause(line: str, modes: Modes) -> Clause | None:
    """Return the directive that opens `line` as people see it; its end is a position in `line` itself."""
    seen = visible(line)
    if not _shows_sign(seen) or (clause := read_clause(seen, modes)) is None:
        return None
    return replace(clause, end=len(line) if clause.end == len(seen) else behind(line, clause.end))


def _shows_sign(line: str) -> bool:
    return SIGN.search(skeleton(fold(line[:REACH]))) is not None


def _are_configuration(clause: Clause, modes: Modes, line: str, neighbour: str) -> bool:
    """Say whether a directive and the line next to it are pasted settings.

    Two lines that set a mode are not: they are two wishes. Nor is one that names an isolated adapter: passing over
    it would let the core speak where it was told to be silent.
    """
    if not clause.plain or any(modes.policy.adapter(name).alone for name in clause.names):
        return False
    pair = _CONFIGURATION.fullmatch(line), _CONFIGURATION.fullmatch(neighbour)
    return all(pair) and not _shows_sign(neighbour)


def _in_fence(above: str) -> bool:
    """Say whether a code fence is still open behind `above`: its own sign closes it, as long or longer."""
    opened = ""
    for fence in _FENCE.findall(above):
        if not opened:
            opened = fence
        elif fence.startswith(opened):
            opened = ""
    return bool(opened)
