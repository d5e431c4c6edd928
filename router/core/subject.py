"""What one message is about, as text for a classifier, and how far it leans on the messages before. Pure.

The order: excerpt (no code, quotations, wrappers), courtesies off, spelling (one script). The cost is bounded
whatever came in. Knows no other message and no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from router.core.courtesy import without_courtesy
from router.core.excerpt import MOST, excerpt
from router.core.leaning import Leaning, leaning
from router.core.spelling import respell


@dataclass(frozen=True)
class Subject:
    """`text` is what is classified, at most about 1,000 characters, "" when nobody said a word.

    `prose` is what the person said without courtesies; None for a subject that somebody else said.
    """

    text: str
    prose: str | None

    @cached_property
    def leaning(self) -> Leaning:
        """How far it leans on the messages before. Worked out once, if ever: a known decision asks for none."""
        return Leaning.NOT if self.prose is None else leaning(self.prose)


@dataclass(frozen=True)
class Turn:
    """A user's message with a prompt in it.

    `asked`: whom its own decision was asked for, None for the classifier. `prompts`: how many such messages the
    engine saw with it, itself among them.
    """

    prompt: str
    asked: frozenset[str] | None = None
    prompts: int = 1

    @cached_property
    def subject(self) -> Subject:
        """What the message is about. Worked out once, if ever: most turns of a long chat are not asked."""
        return subject_of(self.prompt)


def subject_of(message: str) -> Subject:
    """Return the subject of a user's message, directives taken out before."""
    parts = excerpt(message)
    # Twice: "Привет! kak nakachat bitsuhu" is of one script only without the greeting, "privet, kak ..." only a
    # greeting once it is respelt.
    prose = without_courtesy(parts.prose)
    said = respell(prose or parts.prose)
    if said != parts.prose:
        prose = without_courtesy(said)
    if parts.material.strip() and leaning(prose) is Leaning.WHOLLY:
        # "what is this?" over a quotation: the quotation is the subject
        return Subject(respell(f"{prose}\n{parts.material}".strip()[:MOST]), None)
    return Subject(prose or (said if any(letter.isalnum() for letter in said) else ""), prose)
