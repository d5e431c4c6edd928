"""Cut long Markdown where a person would, and make what a model writes harmless. Knows no Slack call.

A part never ends inside a code fence: the fence is closed at the end of one part and opened again in the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST_MARK = 40  # of a fence that is closed and opened again; no person writes a longer one
_LONGEST_LANGUAGE = 20
_FENCE = re.compile(r" {0,3}(`{3,40}|~{3,40})(?![`~])([^`\n]*)")
_SENTENCE = re.compile(r"(?<=[.!?…])\s+")
_CALL = re.compile(r"<(?=[@#!])")  # how Slack begins a mention of a person, a channel, everybody
_HARD, _WORD, _INSIDE, _SENTENCE_END, _LINE, _PARAGRAPH = range(6)


@dataclass(frozen=True, slots=True)
class _Border:
    """A place to cut: how good it is, where, and the fence that is open there ("" for none)."""

    rank: int
    at: int
    fence: str = ""


def calm(text: str) -> str:
    """Return `text` with no mention in it: a model that was talked into `<!channel>` must not call everybody."""
    return _CALL.sub("<\u200b", text)


def split(text: str, limit: int) -> list[str]:
    """Return `text` in parts of at most `limit` characters (200 or more); an empty text has no parts."""
    parts = []
    while text:
        head, text = cut(text, limit)
        parts.append(head)
    return parts


def cut(text: str, limit: int, least: int = 0) -> tuple[str, str]:
    """Return (a beginning of at most `limit` characters, the rest), cut behind `least` characters or later.

    Best is the end of a paragraph, then of a line, a sentence, a line of code, a word. `least` is what was already
    shown and cannot be taken back; it must be well under `limit`.
    """
    if len(text) <= limit:
        return text, ""
    most = limit - LONGEST_MARK - 1  # a closing fence must still fit
    low = max(1, least, min(limit // 2, most))
    found = max(_borders(text, low, most), key=lambda border: (border.rank, border.at))
    head, rest = text[: found.at], text[found.at :]
    if not found.fence:
        return head, rest.lstrip("\n")
    mark = found.fence.rstrip()
    closing = re.match(r"[`~]+", mark)
    head += ("" if head.endswith("\n") else "\n") + (closing.group() if closing else "```")
    return head, f"{mark}\n{rest}"


def _borders(text: str, low: int, most: int) -> list[_Border]:
    """Return every place in [low, most] where `text` may be cut; the worst of them always exists."""
    found: list[_Border] = []
    fence, start, blank = "", 0, False
    while start <= most:
        end = text.find("\n", start)
        end = len(text) if end < 0 else end + 1
        line = text[start:end]
        if low <= start:
            found.append(_Border(_INSIDE if fence else _PARAGRAPH if blank else _LINE, start, fence))
        opens = _FENCE.match(line)
        inside = fence
        if opens and not fence:
            fence = opens.group(1) + _language(opens.group(2))
        elif opens and _closes(opens, fence):
            fence = ""
        if end > low and not opens:
            found += _within(text, start, min(end, most + 1), low, inside)
        blank = not line.strip()
        start = end
    return found or [_Border(_HARD, most, fence)]


def _within(text: str, start: int, end: int, low: int, fence: str) -> list[_Border]:
    """Return the places inside one line: behind a sentence, behind a word, and as a last resort anywhere."""
    found = [_Border(_HARD, end - 1, fence)] if low <= end - 1 else []
    space = text.rfind(" ", max(start, low - 1), end - 1)
    if space >= low - 1 and space >= start:
        found.append(_Border(_WORD, space + 1, fence))
    if not fence:
        ends = [match.end() for match in _SENTENCE.finditer(text, start, end) if low <= match.end() < end]
        found += [_Border(_SENTENCE_END, ends[-1])] if ends else []
    return found


def _language(info: str) -> str:
    word = info.strip().split(" ")[0]
    return word if len(word) <= _LONGEST_LANGUAGE else ""


def _closes(line: re.Match[str], fence: str) -> bool:
    opened = re.match(r"[`~]+", fence)
    return opened is not None and not line.group(2).strip() and line.group(1).startswith(opened.group())
