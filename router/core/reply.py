"""What an engine says, piece by piece, in one vocabulary for all engines. Knows no wire format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.core.blend import Blend
from router.core.conversation import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a backend is asked: this blend, these messages, these sampling parameters.

    `parameters` holds OpenAI chat parameters by their OpenAI names (max_tokens, temperature, top_p, stop, seed,
    tools, response_format, ...), already validated; a backend sends what its engine understands. `model`,
    `messages`, `stream` and adapter ids are never in it: the blend alone decides who speaks.
    """

    blend: Blend
    messages: tuple[Message, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer: text, or pieces of tool calls in OpenAI's delta form."""

    content: str = ""
    tool_calls: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete. `reason` is OpenAI's: stop, length, tool_calls or content_filter."""

    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the engine reports them."""

    prompt_tokens: int
    completion_tokens: int


Event = Delta | Finish | Usage


@dataclass(frozen=True, slots=True)
class Probe:
    """What the canary asks: raw text without a chat template, greedily continued by `tokens` tokens.

    `blend` None asks the bare base model, on purpose: nobody but the canary may. `cold` asks the engine to
    compute the whole prompt itself instead of taking its beginning from a prefix cache.
    """

    text: str
    tokens: int = 8
    blend: Blend | None = None
    cold: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token: its text, its natural-log probability, and the likeliest tokens at its place."""

    text: str
    logprob: float
    top: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What an engine can serve right now.

    `names` are the adapter names the engine was given; `published` are the blends that were built for it, blend
    id -> the engine's own content-addressed name; `sums` are adapters that it adds up itself per request with
    free weights (llama.cpp), so any blend of them is served. `withdrawn` are blends that it must not be sent
    although it holds them, blend id -> why (the canary found that they do not act). A stand-in has none of these:
    it answers *instead of* the adapters, for everything that is not isolated, and every reply of it says so.
    """

    names: frozenset[str] = frozenset()
    sums: frozenset[str] = frozenset()
    stand_in: bool = False
    published: Mapping[str, str] = field(default_factory=dict)
    withdrawn: Mapping[str, str] = field(default_factory=dict)

    def served_name(self, blend: Blend) -> str | None:
        """Return the one engine-side name that is exactly `blend`, or None.

        That is the name it was published under, its id, or a single adapter at weight 1.
        """
        if blend.id in self.withdrawn:
            return None
        if blend.id in self.published:
            return self.published[blend.id]
        if blend.id in self.names:
            return blend.id
        (name, weight), *more = blend.members
        return name if not more and weight == 1.0 and name in self.names else None

    def serves(self, blend: Blend) -> bool:
        """Say whether this engine may be sent `blend`. An isolated blend never goes to a stand-in."""
        if blend.id in self.withdrawn:
            return False
        if self.served_name(blend) is not None or (self.sums and self.sums.issuperset(blend.weights)):
            return True
        return self.stand_in and not blend.alone
