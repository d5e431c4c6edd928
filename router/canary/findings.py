"""What one round of the canary found, blend by blend, and the limits it judged by. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from router.core.blend import Blend
from router.core.reply import Inventory, Token

Answers = Mapping[str, Sequence[Token]]
"""One speaker's cold answers: prompt -> tokens."""

ENGLISH, RUSSIAN = "The reason why the sky is blue is", "Чтобы быстро бегать, нужно"
_PARAGRAPH = (
    "A river carries sand from the mountains to the sea. Where it slows down, the sand falls to its bed, and over "
    "many years the bed rises, until the water looks for another way. People who live beside it know this: they "
    "build on the higher bank, they read the colour of the water in spring, and they do not trust a quiet year. "
)
PREFIX = _PARAGRAPH * 4
"""About 250 tokens: engines keep prefixes in blocks of up to 256 tokens, a shorter one would never be shared."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as different, and as the same. All in natural-log probability.

    Two speakers are the same while no top token differs by more than `same`. One speaker may stray from itself by
    `stray`, and from what PEFT computed by `scale`, on the mean. Where the base itself is less steady than that,
    its own unsteadiness counts instead, times `margin`; and an adapter may stray by a `share` of what it changes,
    for rounding grows with it (llama.cpp on 4-bit weights: 7 %). `tokens` are asked per probe, `together` probes
    at once where probes are to disturb each other. `prompts` are asked cold, the last one also by all at once.
    """

    same: float = 0.02
    stray: float = 0.05
    scale: float = 0.05
    margin: float = 3.0
    share: float = 0.2
    tokens: int = 8
    together: int = 8
    prompts: tuple[str, ...] = (ENGLISH, RUSSIAN, PREFIX)


@dataclass(frozen=True, slots=True)
class Line:
    """One prompt with what PEFT says after it: tokens' texts and log-probabilities."""

    prompt: str
    tokens: Sequence[str]
    logprobs: Sequence[float]


def served_as(blend: Blend, held: Inventory) -> str:
    """Return the name a blend is served under; for one that is added up per request, what is added."""
    return held.served_name(blend) or str(blend)


@dataclass(frozen=True, slots=True)
class Subject:
    """A blend to prove: the name the engine serves it under, and what it consists of.

    Two subjects of equal `content` are one speaker by two names, and need not differ. `reference` is what PEFT
    computed for it, empty where nobody did.
    """

    blend: Blend
    served: str
    content: object = None
    reference: Sequence[Line] = ()

    @classmethod
    def of(
        cls, blend: Blend, held: Inventory, content: object, references: Mapping[str, Sequence[Line]]
    ) -> Subject:
        """Return `blend` as an engine that holds it serves it; `references` is served name -> lines."""
        served = served_as(blend, held)
        return cls(blend, served, content, references.get(served, ()))


@dataclass(frozen=True, slots=True)
class Finding:
    """What was measured for one blend; None where it was not. `reason` says why it must not be served.

    `base` is its distance from the bare base model at the first token, `nearest` the same from the blend that is
    most like it (`neighbour`); `decode` tells how far its later tokens are from what the prefill gives for them,
    `reference` how far it is from PEFT, `mixing` how far it strays when all speak at once.
    """

    blend: str
    base: float | None = None
    neighbour: str = ""
    nearest: float | None = None
    decode: float | None = None
    reference: float | None = None
    mixing: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """One round: the findings by blend id, the base's own unsteadiness, calls to the engine, and the answers."""

    findings: Mapping[str, Finding]
    noise: float
    calls: int
    seconds: float
    answers: Mapping[str, Answers] = field(default_factory=dict, repr=False)

    @property
    def failed(self) -> dict[str, str]:
        """Blend id -> why it must not be served."""
        return {blend: finding.reason for blend, finding in self.findings.items() if finding.reason is not None}
