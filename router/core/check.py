"""What must hold of a policy's values and of its closure. Knows no YAML, no file and no line numbers.

One function per subject; each yields a `Problem` per thing that is wrong. The shape of a file (keys, types)
is checked before a `Policy` exists; here it is about meaning: who could ever end up speaking.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import chain

from router.core.errors import Problem
from router.core.limits import check_limits
from router.core.method import RIGHT, canonical
from router.core.policy import Adapter, Always, Policy, WhenAsked, WhenLabel
from router.core.reachable import COUNTED, closure_size, reachable_names
from router.core.vocabulary import RESERVED as SWITCHES
from router.core.words import parts

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
ALIAS = re.compile(r"[^\W_](?:[\w -]{0,62}[\w])?")
BACKEND = re.compile(r"[a-z][a-z0-9_.-]*(?:[:+]\S*)?")
RESERVED = SWITCHES | {"none", "base", "tgi", "mode", "режим"}
"""Words that the switcher, the `model` field or TGI (its bare base is called `tgi`) already use."""
MAX_BLENDS = 10_000
MAX_WEIGHT = 10.0
MIN_WEIGHT = 0.001
"""Less would hardly be heard, and llama.cpp's float32 makes 1e-46 nothing: the bare base model would answer."""


def check(policy: Policy, labels: frozenset[str] | None = None) -> list[Problem]:
    """Return everything that is wrong with one resolved profile; an empty list means it may be served.

    `labels`: what the classifier can score; given, every gate must wait for one of them. `Problem.where` is the
    path inside the resolved document. The closure itself is walked once all the parts are sound.
    """
    problems = list(
        chain(
            *(_adapter(adapter) for adapter in policy.adapters),
            _aliases(policy),
            _gates(policy, labels),
            _otherwise(policy),
            _compose(policy),
            _backends(policy),
            _may_ask(policy),
            check_limits(policy.limits),
        )
    )
    return problems or list(_closure(policy))


def check_isolation(policy: Policy, document: Policy) -> list[Problem]:
    """Return where a caller's profile ends the isolation of an adapter: a patch may only isolate more."""
    isolated = {adapter.name for adapter in document.adapters if adapter.alone}
    return [
        Problem(
            f"adapters.{adapter.name}.alone",
            "ends the isolation that the document gives it",
            "leave this line out, or give the adapter that may be joined a name of its own",
        )
        for adapter in policy.adapters
        if adapter.name in isolated and not adapter.alone
    ]


def folded(word: str) -> str:
    """Return the form in which names that sound alike are equal: case, ё/е, spaces, - and _ do not count."""
    return " ".join(parts(word))


def near(word: str, known: frozenset[str]) -> str:
    """Return a hint at the known word that `word` may have meant, else the list of what is known."""
    close = get_close_matches(word, sorted(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(sorted(known)) or 'none'}"


def _adapter(adapter: Adapter) -> Iterator[Problem]:
    path = f"adapters.{adapter.name}"
    if not NAME.fullmatch(adapter.name):
        yield Problem(
            path,
            f"the name {adapter.name!r} cannot be part of a blend's id",
            "use a-z first, then a-z, 0-9, _ or -, 32 at most; other spellings belong into `aliases`",
        )
    if adapter.name in RESERVED:
        yield Problem(path, f"the name {adapter.name!r} is reserved", "choose another; it already has a meaning")
    if not adapter.source.strip():
        yield Problem(f"{path}.from", "is blank", "write the folder or hub id that holds the LoRA")
    if not math.isfinite(adapter.weight) or not 0 < abs(adapter.weight) <= MAX_WEIGHT:
        yield Problem(
            f"{path}.weight",
            f"is {adapter.weight}",
            f"write a number from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g} other than 0; to silence an adapter remove it",
        )
    elif abs(adapter.weight) < MIN_WEIGHT:
        yield Problem(
            f"{path}.weight",
            f"is {adapter.weight}: nobody could tell it from the model without this adapter",
            f"write {MIN_WEIGHT:g} or more (-{MIN_WEIGHT:g} or less); to silence an adapter remove it",
        )
    if isinstance(adapter.when, WhenLabel) and not 0 < adapter.when.at_least <= 1:
        yield Problem(
            f"{path}.when.at_least",
            f"is {adapter.when.at_least}",
            "write a probability over 0 and up to 1, like 0.55",
        )
    if isinstance(adapter.when, WhenLabel) and not adapter.when.label.strip():
        yield Problem(f"{path}.when.label", "is blank", "write the classifier's label that opens the gate")
    if adapter.alone and isinstance(adapter.when, Always):
        yield Problem(
            f"{path}.alone",
            "with `when: always` nobody else would ever speak",
            "make it `when: asked` or give it a label gate, or drop `alone`",
        )


def _aliases(policy: Policy) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for adapter in policy.adapters:
        owner = owners.setdefault(folded(adapter.name), adapter.name)
        if owner != adapter.name:
            yield Problem(
                f"adapters.{adapter.name}",
                f"the name sounds like {owner!r} (- and _ do not count)",
                "choose a name that can be told apart when spoken",
            )
    spoken: dict[str, str] = {}
    for adapter in policy.adapters:
        path = f"adapters.{adapter.name}.aliases"
        for alias in adapter.aliases:
            key = folded(alias)
            if not ALIAS.fullmatch(alias):
                yield Problem(
                    path,
                    f"the alias {alias!r} cannot be told from the rest of a request",
                    "use letters, digits, -, _ and inner spaces, 64 at most",
                )
            elif key in RESERVED:
                yield Problem(path, f"the alias {alias!r} is reserved", "choose another; it already has a meaning")
            elif owners.get(key, adapter.name) != adapter.name:
                yield Problem(
                    path,
                    f"the alias {alias!r} is the name of another adapter",
                    f"remove it, or rename the adapter {owners[key]!r}",
                )
            elif key in spoken:
                yield Problem(
                    path,
                    f"the alias {alias!r} already belongs to {spoken[key]!r} (case, ё/е, - and _ do not count)",
                    "keep it in one place",
                )
            spoken.setdefault(key, adapter.name)


def _gates(policy: Policy, labels: frozenset[str] | None) -> Iterator[Problem]:
    opened: dict[str, str] = {}
    for adapter in policy.adapters:
        if not isinstance(adapter.when, WhenLabel):
            continue
        label, path = adapter.when.label, f"adapters.{adapter.name}.when.label"
        if labels is not None and label not in labels:
            yield Problem(path, f"the classifier has no label {label!r}", near(label, labels))
        if label in opened:
            # Two gates on one label would let a rising score push an adapter out by opening its sibling.
            yield Problem(
                path,
                f"the label {label!r} already opens {opened[label]!r}",
                "give each label one adapter, or make one of the two `when: asked`",
            )
        opened.setdefault(label, adapter.name)


def _otherwise(policy: Policy) -> Iterator[Problem]:
    known = {adapter.name: adapter for adapter in policy.adapters}
    for name in policy.otherwise:
        adapter = known.get(name)
        if adapter is None:
            yield Problem("otherwise", f"no adapter is called {name!r}", near(name, frozenset(known)))
        elif adapter.alone:
            yield Problem("otherwise", f"{name!r} speaks alone and cannot join others", "name adapters that join")
        elif isinstance(adapter.when, WhenAsked):
            yield Problem("otherwise", f"{name!r} speaks only when asked", "give it a label gate, or remove it")
        elif isinstance(adapter.when, Always):
            yield Problem("otherwise", f"{name!r} is `when: always` and speaks anyway", "remove it here")
    if len(set(policy.otherwise)) != len(policy.otherwise):
        yield Problem("otherwise", "names an adapter twice", "name each once")
    if len(policy.otherwise) > policy.at_most >= 1:
        yield Problem(
            "otherwise",
            f"names {len(policy.otherwise)} adapters, but compose.at_most is {policy.at_most}",
            "shorten it or raise compose.at_most",
        )


def _compose(policy: Policy) -> Iterator[Problem]:
    if policy.at_most < 1:
        yield Problem("compose.at_most", f"is {policy.at_most}", "write 1 or more: how many may join the core")
    try:
        canonical(policy.merge)
    except ValueError as fault:
        yield Problem("compose.merge", str(fault), RIGHT)
    gate = policy.refuse_conflict_above
    if gate is not None and not 0 < gate <= 1:
        yield Problem(
            "compose.refuse_conflict_above",
            f"is {gate}",
            "write the share that may be lost, over 0 and up to 1, like 0.1; leave it out to refuse nothing",
        )
    if not policy.base.strip():
        yield Problem("base", "is blank", "write the base model's hub id or folder")


def _backends(policy: Policy) -> Iterator[Problem]:
    if not policy.backends:
        yield Problem("backends", "is empty", 'name at least one engine, such as "embedded:"')
    for backend in policy.backends:
        if not BACKEND.fullmatch(backend):
            yield Problem("backends", f"{backend!r} is neither a name nor a URL", 'write primary, or "embedded:"')
    if len(set(policy.backends)) != len(policy.backends):
        yield Problem("backends", "names an engine twice", "name each once, in the order in which to try them")


def _may_ask(policy: Policy) -> Iterator[Problem]:
    known = {adapter.name: adapter for adapter in policy.adapters}
    for name in sorted(policy.may_ask or ()):
        if name not in known:
            yield Problem("may_ask", f"no adapter is called {name!r}", near(name, frozenset(known)))
        elif not isinstance(known[name].when, WhenAsked):
            yield Problem(
                "may_ask", f"{name!r} is not `when: asked`", "remove it: everybody may ask for the other adapters"
            )


def _closure(policy: Policy) -> Iterator[Problem]:
    if (size := closure_size(policy)) > MAX_BLENDS:
        yield Problem(
            "compose.at_most",
            f"{size} blends {'or more ' if size > COUNTED else ''}would be reachable; {MAX_BLENDS} is the limit",
            "lower compose.at_most or split the policy by tenant",
        )
        return
    if any(not names for names in reachable_names(policy)):
        yield Problem(
            "adapters",
            "nobody would speak when no gate opens: the bare base model would answer",
            "make one adapter `when: always`, or name some in `otherwise`",
        )
