"""Prints an answer as it streams in. Knows the terminal, and nothing of who speaks."""

from __future__ import annotations

import re

import click

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Speech:
    """Prints pieces of text and keeps them. What would steer a terminal (escape sequences) is not passed on.

    A character may be cut into halves between two pieces: the first half waits for the second.
    """

    def __init__(self) -> None:
        self.text = ""
        self._half = ""

    def say(self, piece: str) -> None:
        """Print one piece."""
        piece = self._half + piece
        self._half = piece[-1] if piece and "\ud800" <= piece[-1] <= "\udbff" else ""
        self._print(piece.removesuffix(self._half) if self._half else piece)

    def end(self) -> None:
        """End the answer with a line feed, unless it has one or is empty."""
        self._print(self._half)
        self._half = ""
        if self.text and not self.text.endswith("\n"):
            click.echo()

    def _print(self, text: str) -> None:
        whole = readable(text)
        self.text += whole
        click.echo(whole, nl=False)


def readable(text: str) -> str:
    """Return `text` as it may be printed: halves of characters joined or replaced, control characters left out."""
    return _CONTROL.sub("", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
