"""What a person says in a message: no code, quotations, signatures or wrappers, and a bounded part of it.

Front ends, mail programs and coding agents wrap a question in much that is not it. Prose is what remains; what was
taken out is material, for the message that is about nothing else. Knows no subject of earlier messages.

However long a message is, at most LOOK characters of it are read: its two ends, and short windows around question
marks between them, where people hide the question in a pasted document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from router.core.words import lines

LOOK = 8000
"""Characters of a message that are looked at: half from each end, and a few windows between."""

MOST = 1000
"""Characters of an excerpt: an encoder averages over all it sees, so more would only dilute the question."""

_WINDOW = 200  # characters around a question mark in the middle
_WINDOWS = 3
_HINT = 120  # characters of a code block without a language's name: enough to see that it is code

_FENCE = re.compile(
    r"^[ \t]{0,3}(```+|~~~+)[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]{0,3}\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL
)
_ASKED = re.compile(
    r"<(task|user_?query|user_?request|user_?message|user_?input|user_?prompt|question|query|feedback"
    r"|answer)\b[^<>]{0,200}>(.*?)(?:</\1>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_WRAPPED = re.compile(
    r"<([a-z]+(?:[_-][a-z]+)+|context|environment|files?|documents?|sources?|attachments?|instructions?"
    r"|reminder|memory|history|system|rules|tools?|results?|output)\b[^<>]{0,300}>(.*?)(?:</\1>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_TOOL_RESULT = re.compile(r"^\s*\[[\w ]{2,40}(?: for [^\]\n]{0,300})?\] Result:.*\Z", re.DOTALL)
_QUOTE = re.compile(r"^[ \t]{0,3}>[^\n]*(?:\n|\Z)", re.MULTILINE)
_WROTE = re.compile(
    r"^(?:On [^\n]{4,160}wrote|[^\n]{0,100}\d{4}[^\n]{0,80}(?:пишет|писала?|написала?))[^\n]{0,80}:[ \t]*$",
    re.MULTILINE,
)
_ORIGINAL = re.compile(
    r"^[ \t]*[-_—]{2,}[ \t]*(?:Original Message|Forwarded message|Исходное сообщение|Пересланное сообщение"
    r"|Пересылаемое сообщение|Переадресованное сообщение)[ \t]*[-_—]{0,}[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
_HEADER = re.compile(
    r"^[ \t]*(?:From|To|Cc|Sent|Date|Subject|Reply-To|От|Кому|Копия|Отправлено|Дата|Тема):[^\n]*(?:\n|\Z)",
    re.MULTILINE | re.IGNORECASE,
)
_SIGNATURE = re.compile(
    r"^(?:-- ?|Sent from my [^\n]{1,40}|Отправлено (?:с|из|от) [^\n]{1,40}|(?:С уважением|Best regards|Kind"
    r" regards|Regards|Sincerely)[,.! ]*)$(?:\n[^\n]{0,80}){0,5}\Z",
    re.MULTILINE | re.IGNORECASE,
)
_SPACES = re.compile(r"[^\S\n]+")
_BLANK = re.compile(r"\n\s*\n+")


@dataclass(frozen=True, slots=True)
class Excerpt:
    """`prose` is what the person says, `material` what it was said about: code, a quotation, a document."""

    prose: str
    material: str


def excerpt(text: str) -> Excerpt:
    """Return the informative part of a message, each half at most MOST characters."""
    text = lines(_looked_at(text))
    material: list[str] = []
    asked = [found.group(2) for found in _ASKED.finditer(text)] if "<" in text else []
    if asked:
        text = "\n".join(asked)
    text = _TOOL_RESULT.sub("", text)
    text = _FENCE.sub(lambda code: _code(code, material), text)
    if "<" in text:
        text = _WRAPPED.sub(lambda wrapped: _aside(wrapped.group(2), material), text)
    text = _without_mail(text, material)
    return Excerpt(_bounded(text), _bounded("\n".join(material)))


def _looked_at(text: str) -> str:
    """Return the ends of a long text, and the questions between them."""
    if len(text) <= LOOK:
        return text
    half, windows = LOOK // 2, []
    at = half
    for _ in range(_WINDOWS):
        at = text.find("?", at, len(text) - half)
        if at < 0:
            break
        windows.append(text[max(half, at - _WINDOW) : at + 1])
        at += _WINDOW
    return "\n".join((text[:half], *windows, text[-half:]))


def _code(code: re.Match[str], material: list[str]) -> str:
    """Leave the name of the language where code stood, or its beginning when nobody named one."""
    material.append(code.group(3))
    return f"{code.group(2) or code.group(3)[:_HINT]}\n"


def _aside(text: str, material: list[str]) -> str:
    material.append(text)
    return "\n"


def _without_mail(text: str, material: list[str]) -> str:
    """Take out quoted lines, forwarded messages and signatures."""
    if ">" in text:
        material.extend(quote.group().lstrip(" \t>") for quote in _QUOTE.finditer(text))
        text = _QUOTE.sub("", text)
    text = _WROTE.sub("", text)
    if (forwarded := _ORIGINAL.search(text)) is not None:
        above, below = text[: forwarded.start()], _HEADER.sub("", text[forwarded.end() :])
        if "?" in above or len(above.strip()) > 2 * _HINT or "?" not in below:
            material.append(below)
            text = above if above.strip() else below
        else:  # the question stands under the forwarded message, and it belongs to what stands above
            text = f"{above}\n{below}"
    return _SIGNATURE.sub("", text)


def _bounded(text: str) -> str:
    """Return at most MOST characters: the beginning, questions, and the end."""
    text = _BLANK.sub("\n", _SPACES.sub(" ", text)).strip()
    if len(text) <= MOST:
        return text
    end = 2 * MOST // 5
    start = end - _WINDOW // 2
    middle = text[start:-end]
    at = middle.rfind("?")
    asked = "" if at < 0 else middle[max(0, at - _WINDOW) : at + 1]
    return f"{text[:start]}\n{asked}\n{text[-end:]}"
