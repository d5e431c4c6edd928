"""What /v1/models says of vLLM and SGLang: who is the base, who are adapters. Pure; knows no client.

Both write one card per name, and a `parent` on those of adapters. Sources: vLLM's
entrypoints/openai/models/serving.py, SGLang's srt/entrypoints/http_server.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from router.core.errors import BackendBroken


@dataclass(frozen=True, slots=True)
class Models:
    """`base` is the name that the bare base model answers to, `adapters` the names of what is loaded on it."""

    base: str
    adapters: frozenset[str]


def read_models(backend: str, answer: Any) -> Models:
    """Read the list. A name that is also the base's is no adapter. Raises BackendBroken for another shape."""
    try:
        cards = [(str(card["id"]), card.get("parent")) for card in answer["data"]]
        bases = [name for name, parent in cards if parent is None]
        return Models(bases[0], frozenset(name for name, parent in cards if parent is not None) - {*bases})
    except (KeyError, IndexError, TypeError, AttributeError):
        raise BackendBroken(f"{backend}: /v1/models lists no base model", backend=backend) from None
