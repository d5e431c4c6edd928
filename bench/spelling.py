"""What spelling and politeness cost: accuracy on prompts as typed, and as the router puts them right.

`python -m bench.spelling [FILE ...]`. The prompts are the turns of the frozen dialogues that need no history. Each
is changed in one way, and classified twice: raw, and as the subject that `router.core.subject` makes of it. `same`
is the share of prompts whose subject keeps the label of the unchanged prompt's subject.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import classifiers
from bench.dialogues import FROZEN, Turn, read_dialogues
from router.core.subject import subject_of

# GOST 7.79 B and what people type differ; this is the common street spelling, without soft signs.
_CYRILLIC = "абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
_STREET = "a,b,v,g,d,e,yo,zh,z,i,y,k,l,m,n,o,p,r,s,t,u,f,h,ts,ch,sh,sch,,y,,e,yu,ya"
_LATIN = dict(zip(_CYRILLIC, _STREET.split(","), strict=True))
_TWINS = {"а": "a", "о": "o", "е": "e", "с": "c", "р": "p", "х": "x"}
_TWINS_BACK = {latin: cyrillic for cyrillic, latin in _TWINS.items()}


def transliterated(text: str) -> str:
    """Return Russian in Latin letters."""
    return "".join(_LATIN.get(letter, letter) for letter in text.lower())


def mixed(text: str) -> str:
    """Return the text with the first letter of each word that has a twin in the other script replaced by it."""
    words = text.split(" ")
    for at, word in enumerate(words):
        for letter in word:
            if twin := _TWINS.get(letter) or _TWINS_BACK.get(letter):
                words[at] = word.replace(letter, twin, 1)
                break
    return " ".join(words)


CHANGES: Mapping[str, Mapping[str, Callable[[str], str]]] = {
    "ru": {
        "as typed": str,
        "upper case": str.upper,
        "transliterated": transliterated,
        "look-alikes": mixed,
        "polite head": lambda text: f"Здравствуйте! Подскажите, пожалуйста, {text}",
        "polite tail": lambda text: f"{text} Заранее спасибо!",
    },
    "en": {
        "as typed": str,
        "upper case": str.upper,
        "look-alikes": mixed,
        "polite head": lambda text: f"Hello! Please {text}",
        "polite tail": lambda text: f"{text} Thanks in advance!",
    },
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="*", default=[FROZEN])
    options = parser.parse_args()
    classifier = classifiers.ensure(Path(".agoge/classifier"), Path("policies/exemplars"))
    prompts: dict[str, list[Turn]] = {"ru": [], "en": []}
    for file in options.files:
        for dialogue in read_dialogues(file):
            prompts[dialogue.lang] += [turn for turn in dialogue.turns if turn.kind in ("opening", "shift")]
    for lang, turns in prompts.items():
        print(f"{lang}: {len(turns)} prompts, classifier {classifier.fingerprint}")
        plain = [classifier.predict(subject_of(turn.user).text).label for turn in turns]
        for name, change in CHANGES[lang].items():
            texts = [change(turn.user) for turn in turns]
            raw = [classifier.predict(text).label for text in texts]
            ours = [classifier.predict(subject_of(text).text).label for text in texts]
            right = [sum(a == turn.label for a, turn in zip(got, turns, strict=True)) for got in (raw, ours)]
            same = sum(a == b for a, b in zip(ours, plain, strict=True))
            shares = [f"{100 * count / len(turns):5.1f} %" for count in (*right, same)]
            print(f"  {name:15} right raw {shares[0]}   put right {shares[1]}   same {shares[2]}")


if __name__ == "__main__":
    main()
