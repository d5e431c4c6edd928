"""The grammar of a directive on one line of text. Knows no message, no history and no permission.

Words in capitals are the lists of `vocabulary.py`; NAMES are names or aliases as `Modes.resolve` understands them.
The phrase opens the line: only emoji, bullets, emphasis, a mention ("@agoge", as group chats put it there), the
name of an `always` adapter and a comma ("Агоге, ..."), and a polite word may come before it.

    phrase  = "/" MODE [":"] NAMES                     /mode physics          strong
            | VERB MODE ":" NAMES                      включить режим: физика strong
            | [INSIDE] MODE ":" NAMES                  режим: физика          strong if its clause has <= 2 words
            | VERB ":" NAMES  >                        включить: физика
            | VERB MODE ["-" | ONTO] NAMES  >          включи режим физики; switch mode to physics
            | VERB NAMES MODE  >                       switch to physics mode
            | VERB NAMES  >                            включи физику
            | INSIDE MODE NAMES  > | INSIDE NAMES MODE  >   в режиме физики; in physics mode
            | MODE ["-"] NAMES  > | NAMES MODE end     режим авто; physics mode on
            | OFF MODE [[":"] NAMES]  > | OFF NAMES [MODE]  >   выключить режим; turn off physics mode
    NAMES   = NAME ((+ | , | / | & | и | and | with ...) NAME)* | AUTO
    VERB    = ON | ON_WITH_MODE (the latter only where the phrase has MODE)

`>` means that the phrase must end there: the end of the line, `: ; . !`, a dash, or (after a comma, a conjunction,
and for INSIDE and VERB MODE after a mere space) a question word or an imperative. So "в режиме спорта машина
тратит больше" and "включи спорт по телевизору" are no directives, "в режиме спорта объясни офсайд" is one.
After ":" and "/" nothing needs to follow: known names are taken, the rest of the line is the prompt. A `+`
between names makes any phrase strong, if it has MODE or at least one known name ("включи свет+музыку" is talk).

A strong phrase with an unknown name is reported, never ignored; a weak one is no directive. Likewise "режим:
физика, музыка": single unknown words behind commas or "и" up to the end of the line are reported, because they
cannot be told from names.
A name one typo away counts in strong and in properly ended phrases only. A question mark or "или" right behind the
names, a question word in their place, or a stray quotation mark means that the sentence talks about modes.
`AUTO` words must end the phrase everywhere but after "/": "mode: auto insurance" is talk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from router.core import vocabulary as v
from router.core.line import COLON, DASH, LEAD, QUOTES, SLASH_END, Line, match_end
from router.core.modes import Modes
from router.core.policy import Always
from router.core.words import WORD, fold, is_cyrillic, keyword

Form = Literal["slash", "verb", "inside", "none"]


@dataclass(frozen=True, slots=True)
class Clause:
    """A phrase on a line. `end` is where the prompt begins; `names` is empty for off; `plain` means no verb."""

    names: frozenset[str]
    end: int
    language: Literal["ru", "en"]
    unknown: str | None = None
    plain: bool = False


def read_clause(text: str, modes: Modes) -> Clause | None:
    """Return the directive that opens the line `text`, None when there is none. Raises nothing."""
    line = Line(text, modes)
    at = line.skip(line.addressed(match_end(LEAD, text, 0)), v.POLITE, 2)
    slash = text.startswith("/", at)
    word, end = line.word(at + slash)
    language: Literal["ru", "en"] = "ru" if is_cyrillic(word) else "en"
    if slash:
        separated = SLASH_END.match(text, end)
        if word not in v.MODE or not separated or (separated.end() == end < len(text)):
            return None
        return _decide(line, separated.end(), language, "slash", before=True, colon=True)
    form: Form = "none"
    off = needs_mode = False
    if word in v.OFF or word in v.OFF_WITH_MODE or word in v.ON or word in v.ON_WITH_MODE:
        form = "verb"
        off = word in v.OFF or word in v.OFF_WITH_MODE
        needs_mode = word in v.OFF_WITH_MODE or word in v.ON_WITH_MODE
        at = line.skip(line.space(end), v.PARTICLES, 3)
        particle, _ = line.word(line.space(end))
        off = off or particle == "off"
        word, end = line.word(at)
    elif word in v.INSIDE:
        form, at = "inside", line.skip(line.space(end), v.PARTICLES, 1)
        word, end = line.word(at)
    before = word in v.MODE
    if before:
        at = end
        if form == "verb" and not off and (onto := line.skip(line.space(end), v.ONTO, 1)) > line.space(end):
            at = onto
    colon = COLON.match(text, at)
    dash = None if colon else DASH.match(text, at)
    after = colon.end() if colon else dash.end() if dash else line.space(at)
    if off:
        return _decide_off(line, at, after, language, before=before, colon=bool(colon), needs_mode=needs_mode)
    if not before and (needs_mode or not colon or form != "verb"):
        return _decide_infix(line, after, language, form, needs_mode=needs_mode)
    return _decide(line, after, language, form, before=before, colon=bool(colon))


def _decide(
    line: Line, at: int, language: Literal["ru", "en"], form: Form, *, before: bool, colon: bool
) -> Clause | None:
    """Judge `[form] [MODE] [:] NAMES`; `before` says that MODE was there."""
    slash, plain = form == "slash", form == "none"
    found = line.names(at)
    if found is None:
        empty = slash and line.ended(at)
        return Clause(frozenset(), len(line.line), language, unknown="") if empty else None
    if not slash and (line.asks(found.end) or line.word(line.space(found.end))[0] in v.OR):
        return None
    segment, words = line.segment(found.start)
    short = words <= 2
    if found.unknown is not None:
        strong = (
            slash
            or (colon and before and (form == "verb" or short))
            or (found.plus and (before or bool(found.adapters)))
        )
        first = fold(found.unknown)
        talk = (
            first in v.QUESTIONS or first in v.MAYBE_QUESTIONS or (short and line.asks(found.start + len(segment)))
        )
        if not strong or (talk and not slash and not found.plus):
            return None
        whole = short and not found.plus
        end = found.start + len(segment) if whole else found.end
        unknown = segment.strip(QUOTES + "*_ ") if whole else found.unknown
        return Clause(frozenset(), line.prompt(end), language, unknown, plain)
    follow = line.follow(found.end, space=colon or form in ("verb", "inside"), wary=not before)
    if found.off:
        end_of = line.prompt(found.end) if slash else follow
        return None if end_of is None else Clause(frozenset(), end_of, language, plain=plain)
    ended_off = _closed_off(line, found.end)
    if ended_off:
        return Clause(frozenset(), len(line.line), language, plain=plain)
    strong = slash or (colon and before) or found.plus
    if found.guessed and plain and not short and follow is None and not found.plus:
        return None
    if follow is None and not strong:
        return None
    if slash and (more := line.listed(found.end)):
        return Clause(frozenset(found.adapters | more), len(line.line), language)
    if colon and (last := _last_unknown(line, found.end)):
        return Clause(frozenset(), len(line.line), language, last, plain)
    end = line.prompt(found.end) if follow is None or (strong and follow < len(line.line)) else follow
    return Clause(frozenset(found.adapters), end, language, plain=plain)


def _last_unknown(line: Line, at: int) -> str | None:
    """Return the first of the single words that end the line behind soft separators, unless a sentence opens."""
    first: str | None = None
    while True:
        place, _ = line.separator(at)
        match = WORD.match(line.line, place) if place is not None else None
        if match is None:
            return None
        if first is None:
            word = keyword(match.group())
            if word in v.QUESTIONS or word in v.AFTER_ON or line.begins(match.start(), "any"):
                return None
            first = match.group()
        at = match.end()
        if line.ended(at):
            return first


def _closed_off(line: Line, at: int) -> bool:
    word, end = line.word(line.space(at))
    return word in v.AFTER_OFF and line.ended(end)


def _decide_infix(
    line: Line, at: int, language: Literal["ru", "en"], form: Form, *, needs_mode: bool
) -> Clause | None:
    """Judge `[form] NAMES [MODE]`: "включи физику", "switch to physics mode", "academic mode on"."""
    found = line.names(at)
    if found is None or (found.unknown is not None and not (found.plus and found.adapters and form == "verb")):
        return None
    if found.unknown is not None:
        return None if needs_mode else Clause(frozenset(), line.prompt(found.end), language, found.unknown)
    word, end = line.word(line.space(found.end))
    infix = word in v.MODE
    at = end if infix else found.end
    if form == "none":
        language = "ru" if is_cyrillic(word) else "en"
    if line.asks(at) or (not infix and (form != "verb" or needs_mode or (found.off and not line.ended(at)))):
        return None
    if _closed_off(line, at):
        return Clause(frozenset(), len(line.line), language)
    if form == "none":
        if found.off and language == "en" and keyword(line.line[found.start : found.end]) not in v.RESERVED:
            return None  # "Normal mode" is a heading
        colon = COLON.match(line.line, at)
        follow = colon.end() if colon and line.begins(colon.end(), "none") else None
        tail = line.skip(line.space(at), v.AFTER_ON, 2)
        follow = len(line.line) if line.ended(tail) else follow
    else:
        follow = line.follow(at, space=infix, wary=not infix)
    if follow is None and found.plus:
        follow = line.prompt(at)
    if follow is None or (
        found.guessed and not infix and not is_cyrillic(fold(line.line[found.start : found.end]))
    ):
        return None
    return Clause(frozenset(found.adapters), follow, language)


def _decide_off(
    line: Line,
    at: int,
    after: int,
    language: Literal["ru", "en"],
    *,
    before: bool,
    colon: bool,
    needs_mode: bool,
) -> Clause | None:
    """Judge `OFF MODE [NAMES]` and `OFF NAMES [MODE]`: whatever was on, the router chooses again."""
    found = line.names(after)
    if found is not None and found.unknown is None and not found.off:
        word, end = line.word(line.space(found.end))
        infix = word in v.MODE
        constant = any(isinstance(line.modes.policy.adapter(name).when, Always) for name in found.adapters)
        if not before and not infix and (needs_mode or constant):
            return None  # "отключи агоге": the core is in every blend; claiming to have done it would be a lie
        at = end if infix else found.end
    elif found is not None and found.unknown is not None and before and colon:
        return Clause(frozenset(), line.prompt(found.end), language, found.unknown)
    elif not before:
        return None
    if line.asks(at):
        return None
    follow = line.follow(at, space=before, wary=False)
    return None if follow is None else Clause(frozenset(), follow, language)
