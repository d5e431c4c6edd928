"""What is measured, part by part; each returns numbers only, as they are kept in figures.json."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from bench.quality.answers import Figures, by_language, details, outsiders, recall_at, right, summary
from bench.quality.contenders import Contender, Ours, plain
from bench.quality.data import CLINC as CLINC_FILE
from bench.quality.data import EXEMPLARS, TEST, TRAIN, Prompts, groups, read_clinc, read_prompts
from bench.quality.peers import Peer, PeerFailed, peers
from bench.quality.vectors import Kept
from classifiers import Classifier, Encoder, Progress, Row, read_exemplars
from classifiers.encoders.joined import JoinedEncoder
from classifiers.encoders.shortened import ShortenedEncoder
from classifiers.evaluate import ALL
from classifiers.metrics import auroc
from classifiers.rows import unseen

LEFT_OUT = (("arts_entertainment", "medicine", "sport"), ("cooking_travel", "law", "programming"))
PAUSE = 5.0  # seconds between two lines of progress
TIMED = 1000  # texts that a prediction is timed on
FEWEST = 50  # rows of a language that a source's figures are given for


def say(line: str) -> None:
    """Progress goes to standard error."""
    print(line, file=sys.stderr, flush=True)


class Steps:
    """A `Progress` that speaks every five seconds."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Say how far it is."""
        now = time.monotonic()
        if now - self.last >= PAUSE:
            self.last = now
            say(f"    {stage} {done:,} of {total:,}")


@dataclass
class Bench:
    """The sets, the encoders and the voice that every part needs; `second` stands beside `encoder` in `both`."""

    folder: Path
    encoder: Kept
    second: Kept
    python: Path
    progress: Progress

    def train(self) -> Prompts:
        """The larger set, which contenders learn from."""
        return read_prompts(self.folder / TRAIN)

    def test(self) -> Prompts:
        """The set that everybody is judged on."""
        return read_prompts(self.folder / TEST)

    @property
    def both(self) -> Encoder:
        """Their vectors side by side."""
        return JoinedEncoder(self.encoder, self.second)

    def prepare(self, *rows: Sequence[Row], both: bool = True) -> None:
        """Encode once what several contenders need."""
        for encoder in (self.encoder, self.second) if both else (self.encoder,):
            encoder.prepare([row.text for some in rows for row in some], self.progress)


def texts_of(rows: Sequence[Row]) -> list[str]:
    """Their texts."""
    return [row.text for row in rows]


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows each language has, and all."""
    return {lang: len(places) for lang, places in by_language(rows).items()}


def leave_labels_out(make: Contender, train: Sequence[Row], test: Sequence[Row], who: str) -> Figures:
    """AUROC of strangers, by run and language, and the mean over runs: each run never trains on some labels."""
    runs: list[dict[str, Any]] = []
    for left in LEFT_OUT:
        say(f"  {who}: without {', '.join(left)}")
        make.fit([row for row in train if row.label not in left])
        answers = make.answer(texts_of(test))
        runs.append({"left_out": list(left), "auroc": outsiders(test, answers, left)})
    shared = set.intersection(*(set(run["auroc"]) for run in runs))
    return {
        "runs": runs,
        "mean": {lang: float(np.mean([run["auroc"][lang] for run in runs])) for lang in sorted(shared)},
    }


def shipped(bench: Bench) -> Figures:
    """The classifier that ships, trained on the exemplars of this repository."""
    exemplars = read_exemplars(EXEMPLARS)
    every = bench.test().rows
    test = unseen(every, exemplars)
    bench.prepare(exemplars, test)
    ours = Ours(bench.encoder, bench.progress)
    ours.fit(exemplars)
    assert ours.classifier is not None
    classifier = ours.classifier
    answers = ours.answer(texts_of(test))
    flagged = answers.outside > classifier.limit
    found: Figures = {
        "fingerprint": classifier.fingerprint,
        "encoder": bench.encoder.spec,
        "scikit_learn": sklearn.__version__,
        "exemplars": counts(exemplars),
        "seen": len(every) - len(test),
        "labels": list(classifier.labels),
        "microseconds": whole_prediction(classifier, bench.encoder.encoder, texts_of(test)),
        "summary": summary(test, answers),
        "details": details(test, answers, classifier.labels),
        "flagged": {
            lang: float(np.mean([flagged[at] for at in places])) for lang, places in by_language(test).items()
        },
    }
    found["outside"] = leave_labels_out(ours, exemplars, test, "the shipped classifier")
    accurate = Ours(bench.both, bench.progress)
    accurate.fit(exemplars)
    found["accurate"] = {"encoder": bench.both.spec, "summary": summary(test, accurate.answer(texts_of(test)))}
    return found


def whole_prediction(classifier: Classifier, encoder: Encoder, texts: Sequence[str]) -> dict[str, float]:
    """Median microseconds of an encoder's call and of a whole prediction, each text with both in turn."""
    short = classifier.encoder
    real = replace(
        classifier,
        encoder=ShortenedEncoder(encoder, short.axes) if isinstance(short, ShortenedEncoder) else encoder,
    )
    alone, whole = [], []
    for text in texts[:: max(1, len(texts) // TIMED)]:
        start = time.perf_counter()
        encoder.encode([text])
        between = time.perf_counter()
        real.predict(text)
        alone.append(between - start)
        whole.append(time.perf_counter() - between)
    return {"encoder": 1e6 * float(np.median(alone)), "prediction": 1e6 * float(np.median(whole))}


def side_by_side(everybody: Mapping[str, Contender], train: Sequence[Row], test: Sequence[Row]) -> Figures:
    """Every contender's figures on one split; one that fails is only named."""
    found: Figures = {}
    for name, contender in everybody.items():
        say(f"  {name}: {len(train):,} rows to learn, {len(test):,} to answer")
        try:
            contender.fit(train)
            answers = contender.answer(texts_of(test))
        except PeerFailed as error:
            say(f"  {name} failed: {error}")
            found[name] = {"failed": True}  # why is said, not kept: it names paths
            continue
        found[name] = {"microseconds": answers.microseconds, "summary": summary(test, answers)}
        if isinstance(contender, Peer):
            found[name]["notes"] = contender.notes
    return found


def contenders(bench: Bench) -> Figures:
    """Ours and the plain methods, on the larger set."""
    train, test = bench.train().rows, bench.test().rows
    bench.prepare(train, test)
    return {
        "train": counts(train),
        "test": counts(test),
        "found": side_by_side(plain(bench.encoder, bench.both, bench.progress), train, test),
    }


def ood(bench: Bench) -> Figures:
    """Strangers, for ours and the plain methods."""
    train, test = bench.train().rows, bench.test().rows
    bench.prepare(train, test)
    everybody = plain(bench.encoder, bench.both, bench.progress)
    return {"found": {name: leave_labels_out(one, train, test, name) for name, one in everybody.items()}}


def others(bench: Bench) -> Figures:
    """The routers of others: the same split, and the same strangers."""
    train, test = bench.train().rows, bench.test().rows
    bench.prepare(train, test, both=False)
    everybody = peers(bench.encoder, bench.python)
    found = side_by_side(everybody, train, test)
    for name, one in everybody.items():
        if "failed" not in found[name]:
            found[name]["outside"] = leave_labels_out(one, train, test, name)
    return {"train": counts(train), "found": found}


def clinc(bench: Bench) -> Figures:
    """CLINC150 with its own 150 intents: who knows them, and who notices the questions that are none of them?"""
    sets = read_clinc(bench.folder / CLINC_FILE)
    strangers = [Row("none", "en", text) for text in sets.outside]
    bench.prepare(sets.train, sets.test, strangers)
    found: Figures = {}
    for name, one in plain(bench.encoder, bench.both, bench.progress).items():
        say(f"  {name}: CLINC150, {len(sets.train):,} rows to learn")
        one.fit(sets.train)
        known, strange = one.answer(texts_of(sets.test)), one.answer(sets.outside)
        found[name] = {
            "accuracy": float(right(sets.test, known).mean()),
            "auroc": auroc(strange.outside, known.outside),
            "recall_at_95": recall_at(known.outside, strange.outside),
            "microseconds": known.microseconds,
        }
    sizes = {"train": len(sets.train), "test": len(sets.test), "outside": len(sets.outside)}
    return {"rows": sizes, "intents": len({row.label for row in sets.train}), "found": found}


def sources(bench: Bench) -> Figures:
    """Ours on families of sources that it did not learn from, each held out in turn."""
    train, test = bench.train(), bench.test()
    bench.prepare(train.rows, test.rows, both=False)
    ours = Ours(bench.encoder, bench.progress)
    found: list[dict[str, Any]] = []
    for name, members in groups(train.families):
        kept = [row for row, one in zip(train.rows, train.families, strict=True) if one not in members]
        pairs = [*zip(train.rows, train.families, strict=True), *zip(test.rows, test.families, strict=True)]
        held = [row for row, one in pairs if one in members]
        say(f"  without {name}: {len(kept):,} rows to learn, {len(held):,} to answer")
        ours.fit(kept)
        figures = summary(held, ours.answer(texts_of(held)))
        found.append(
            {"held_out": name, "summary": {lang: one for lang, one in figures.items() if one["rows"] >= FEWEST}}
        )
    means = {}
    for lang in sorted({lang for one in found for lang in one["summary"]} - {ALL}):
        some = [one["summary"][lang] for one in found if lang in one["summary"]]
        means[lang] = {"groups": len(some)} | {
            figure: float(np.mean([one[figure] for one in some])) for figure in ("accuracy", "macro_f1", "ece")
        }
    return {"found": found, "mean": means}


MEASURE: dict[str, Callable[[Bench], Figures]] = {
    "shipped": shipped,
    "contenders": contenders,
    "ood": ood,
    "clinc": clinc,
    "sources": sources,
    "peers": others,
}
