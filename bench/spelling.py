"""What spelling and politeness cost: accuracy on prompts as typed, and as the router puts them right.

`python -m bench.spelling [FILE ...]`. The prompts are the turns of the frozen dialogues that need no history, or
with `--rows` the labelled rows of FILE. Each is changed in one way, and classified twice: raw, and as the router
puts it right (`router.core.subject` and `router.typos`). `same` is the share of prompts that keep the label of the
unchanged prompt, both put right.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import classifiers
from bench.dialogues import FROZEN, read_dialogues
from classifiers import Classifier, Row
from router.core.subject import subject_of
from router.lemmas import RussianLemmatizer
from router.typos import KEYBOARDS, Speller

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


_ROWS = [row for rows in KEYBOARDS for row in rows]


def mistyped(text: str) -> str:
    """Return the text with one slip in every word of two letters or more; the same text slips the same way."""
    chance = random.Random(text)

    def neighbour(letter: str) -> str:
        row = next((row for row in _ROWS if letter.lower() in row), letter)
        at = row.find(letter.lower())
        return chance.choice((row[max(0, at - 1) : at] + row[at + 1 : at + 2]) or letter)

    def slip(word: str) -> str:
        at = chance.randrange(len(word))
        match chance.choice(("missing", "needless", "wrong", "swapped")):
            case "missing":
                return word[:at] + word[at + 1 :]
            case "needless":
                return word[:at] + neighbour(word[at]) + word[at:]
            case "wrong":
                return word[:at] + neighbour(word[at]) + word[at + 1 :]
        at = min(at, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return re.sub(r"[^\W\d_]{2,}", lambda found: slip(found[0]), text)


def unpunctuated(text: str) -> str:
    """Return the text without punctuation, in lower case."""
    return re.sub(r"[^\w\s]", "", text).lower()


CHANGES: Mapping[str, Mapping[str, Callable[[str], str]]] = {
    "ru": {
        "as typed": str,
        "upper case": str.upper,
        "no punctuation": unpunctuated,
        "a slip in every word": mistyped,
        "transliterated": transliterated,
        "look-alikes": mixed,
        "polite head": lambda text: f"Здравствуйте! Подскажите, пожалуйста, {text}",
        "polite tail": lambda text: f"{text} Заранее спасибо!",
    },
    "en": {
        "as typed": str,
        "upper case": str.upper,
        "no punctuation": unpunctuated,
        "a slip in every word": mistyped,
        "look-alikes": mixed,
        "polite head": lambda text: f"Hello! Please {text}",
        "polite tail": lambda text: f"{text} Thanks in advance!",
    },
}


def questions(file: Path) -> list[Row]:
    """The turns that need no history."""
    return [
        Row(turn.label, dialogue.lang, turn.user)
        for dialogue in read_dialogues(file)
        for turn in dialogue.turns
        if turn.kind in ("opening", "shift") and turn.label is not None
    ]


class PutRight:
    """Classifies as the router does one message: its subject, mistyped words put right."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.speller = Speller([row.text for row in classifier.rows], RussianLemmatizer().knows)

    def labels(self, texts: Iterable[str]) -> list[str]:
        """The best label of each message."""
        subjects = (self.speller.correct(subject_of(text).text) for text in texts)
        return [self._classifier.predict(subject).label for subject in subjects]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="*", default=[FROZEN])
    parser.add_argument("--rows", action="store_true", help="FILE holds {text, label, lang} rows, not dialogues")
    options = parser.parse_args()
    classifier = classifiers.ensure(Path(".agoge/classifier"), Path("policies/exemplars"))
    put_right = PutRight(classifier)
    read = classifiers.read_rows if options.rows else questions
    every = [row for file in options.files for row in read(file)]
    for lang, changes in CHANGES.items():
        rows = [row for row in every if row.lang == lang]
        if not rows:
            continue
        print(f"{lang}: {len(rows)} prompts, classifier {classifier.fingerprint}")
        plain = put_right.labels(row.text for row in rows)
        for name, change in changes.items():
            texts = [change(row.text) for row in rows]
            raw = [classifier.predict(text).label for text in texts]
            ours = put_right.labels(texts)
            right = [sum(a == row.label for a, row in zip(got, rows, strict=True)) for got in (raw, ours)]
            same = sum(a == b for a, b in zip(ours, plain, strict=True))
            shares = [f"{100 * count / len(rows):5.1f} %" for count in (*right, same)]
            print(f"  {name:20} right raw {shares[0]}   put right {shares[1]}   same {shares[2]}")


if __name__ == "__main__":
    main()
