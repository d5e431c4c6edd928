"""Makes any string safe and short enough to encode. Knows no model."""

from __future__ import annotations

# An encoder sees at most this many characters: on one core 2,000 cost the embedded encoder up to 26 ms (one
# endless word), where 20,000 cost over a second. The subject of a prompt is known long before that.
MAX_CHARACTERS = 2000


def bounded(text: str) -> str:
    """The text as encoders see it: stripped, and of long texts the first and the last 1,000 characters.

    Both ends, because the question about a pasted document stands before or after it. Lone surrogates (legal
    in JSON, not in UTF-8) become `?` and NUL becomes a space, since the tokenizers refuse the one and stop at
    the other.
    """
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        half = MAX_CHARACTERS // 2
        text = f"{text[: half - 1]} {text[-half:]}"
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def has_words(text: str) -> bool:
    """Whether a text holds a letter or digit; without one (empty, emoji, `?!`) there is nothing to classify."""
    return any(character.isalnum() for character in bounded(text))
