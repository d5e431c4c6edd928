"""figures.json -> docs/quality.md. Every figure of the page comes from that file; computes nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.quality.kept import PARTS, Document

NOT_RUN = "*not run*"
_ORDER = ("en", "ru")
Found = Mapping[str, Any]


def render(document: Document) -> str:
    """The whole page; a part that the document lacks says so."""
    sections = (
        _HEAD,
        _shipped(document.get("shipped")),
        _contenders(document.get("contenders"), document.get("peers")),
        _strangers(document),
        _clinc(document.get("clinc")),
        _sources(document.get("sources"), document.get("contenders")),
        _HOW,
    )
    return "\n\n".join(section.strip() for section in sections) + "\n"


def missing(part: str) -> str:
    """What stands where a part's figures would."""
    assert part in PARTS
    return f"{NOT_RUN}: `make quality DATA=FOLDER ONLY={part}` fills this in."


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratio(value: float | None) -> str:
    """Three digits: .761; a dash for none."""
    if value is None:
        return "-"
    text = f"{value:.3f}"
    return text.removeprefix("0") if text.startswith("0.") else text


def share(value: float | None) -> str:
    """61 %; a dash for none."""
    return "-" if value is None else f"{100 * value:.0f} %"


def time_of(microseconds: float) -> str:
    """Microseconds to two digits of use."""
    return f"{microseconds:,.0f}"


def languages(by: Mapping[str, Any]) -> list[str]:
    """English, Russian, any other, all."""
    return sorted(by, key=lambda lang: (lang == "all", lang not in _ORDER, lang))


def _shipped(found: Found | None) -> str:
    title = "## The classifier that ships\n"
    if found is None:
        return f"{title}\n{missing('shipped')}"
    summary, outside = found["summary"], found["outside"]["mean"]
    exemplars = ", ".join(f"{found['exemplars'][lang]:,} {lang}" for lang in languages(found["exemplars"]))
    seen, time = found["seen"], found["microseconds"]
    accurate = found["accurate"]["summary"]
    main = table(
        ("language", "rows", "accuracy", "macro-F1", "ECE", "AUROC of strangers", "called out of domain"),
        (
            (
                lang,
                f"{one['rows']:,}",
                ratio(one["accuracy"]),
                ratio(one["macro_f1"]),
                ratio(one["ece"]),
                ratio(outside.get(lang)),
                f"{100 * found['flagged'][lang]:.1f} %",
            )
            for lang, one in ((lang, summary[lang]) for lang in languages(summary))
        ),
    )
    better = table(
        ("language", "accuracy", "macro-F1", "ECE"),
        (
            (lang, *(ratio(accurate[lang][figure]) for figure in ("accuracy", "macro_f1", "ece")))
            for lang in languages(accurate)
        ),
    )
    trade = table(
        ("language", "answered at 5 % wrong", "answered at 10 % wrong", "area under risk over coverage"),
        (
            (lang, share(one["coverage_at_5"]), share(one["coverage_at_10"]), ratio(one["area"]))
            for lang, one in ((lang, summary[lang]) for lang in languages(summary))
        ),
    )
    return f"""{title}
Trained on the exemplars of this repository ({exemplars}) with the encoder `{found["encoder"]}`, judged on
`domains_test.jsonl`, of which it learned nothing ({seen} rows whose text is an exemplar were left out).
Fingerprint `{found["fingerprint"]}`, scikit-learn {found["scikit_learn"]}. A prediction takes
{time_of(time["prediction"])} µs, {time["prediction"] / time["encoder"]:.2f} times the encoder's call alone
({time_of(time["encoder"])} µs; medians, each text with both in turn).

{main}

*Strangers*: trained without three labels, are the rows of those labels recognised as belonging nowhere? Mean of
two such runs, see below.

With `--encoder {found["accurate"]["encoder"]}`, which is slower by far ([encoders](classifier.md#encoders)), the
same exemplars reach

{better}

Whoever answers only what the classifier is sure of is wrong less often:

{trade}

![Risk over coverage](quality/risk_coverage.png)

A score of 0.8 should be right four times in five. On the dashed line it is; grey is how many rows lie in each
bin, and of fewer than 10 nothing is said.

![Reliability](quality/reliability.png)

### Label by label
{_labels(found)}

![Confusion](quality/confusion.png)"""


def _labels(found: Found) -> str:
    spoken = [lang for lang in languages(found["details"]) if lang != "all"]
    heads = ["label", *(f"{name}, {lang}" for lang in spoken for name in ("precision", "recall", "F1", "rows"))]
    rows = []
    for label in found["labels"]:
        line = [f"`{label}`"]
        for lang in spoken:
            one = found["details"][lang]["labels"].get(label)
            if one is None:
                line += ["-"] * 4
            else:
                line += [*(ratio(one[name]) for name in ("precision", "recall", "f1")), str(one["support"])]
        rows.append(line)
    return table(heads, rows)


def _contenders(own: Found | None, others: Found | None) -> str:
    title = "## Side by side\n"
    if own is None and others is None:
        return f"{title}\n{missing('contenders')}\n\n{missing('peers')}"
    sizes = (own or others or {})["train"]
    text = f"""{title}
All learned from `domains_train.jsonl` ({sizes["all"]:,} rows) and answered `domains_test.jsonl`: the same
split, the same machine, one thread, one text after the other, the same vectors of the encoder `use` (of `use+e5`
where it says so), which were computed once. TF-IDF uses no encoder. *µs*: the median for one text, without the
encoder. "No route" is a wrong answer of confidence 0, and is no label of its own in macro-F1.
"""
    if own is None:
        text += f"\n{missing('contenders')}\n"
    if others is None:
        text += f"\nThe other routers: {missing('peers')}\n"
    found = (own["found"] if own else {}) | (others["found"] if others else {})
    rows = []
    for name, one in found.items():
        if "failed" in one:
            rows.append([name, "could not be run", *["-"] * 8])
            continue
        line = [name]
        for figure, form in (("accuracy", ratio), ("macro_f1", ratio), ("ece", ratio), ("coverage_at_10", share)):
            line += [form(one["summary"].get(lang, {}).get(figure)) for lang in _ORDER]
        rows.append([*line, time_of(one["microseconds"])])
    heads = ("accuracy", "macro-F1", "ECE", "answered at 10 % wrong")
    text += "\n" + table(["", *(f"{head}, {lang}" for head in heads for lang in _ORDER), "µs"], rows)
    for name, one in (others["found"] if others else {}).items():
        notes = one.get("notes")
        if notes:
            none = share(one["summary"]["all"]["no_route"])
            text += f"\n\n**{name}**: {notes['version']}. {notes['setup']}. No route for {none} of the texts."
        elif "failed" in one:
            text += f"\n\n**{name}** could not be run."
    return text + _PLAIN


def _strangers(document: Document) -> str:
    title = "## Who notices strangers?\n"
    found: dict[str, Any] = {}
    notes = []
    shipped = document.get("shipped")
    if shipped:
        found["Agoge, as it ships"] = shipped["outside"]
    if "ood" in document:
        found |= document["ood"]["found"]
    else:
        notes.append(missing("ood"))
    if "peers" in document:
        found |= {name: one["outside"] for name, one in document["peers"]["found"].items() if "outside" in one}
    else:
        notes.append(f"The other routers: {missing('peers')}")
    lines = "".join(f"\n{note}\n" for note in notes)
    if not found:
        return f"{title}{lines}"
    runs = next(iter(found.values()))["runs"]
    left = [" + ".join(f"`{label}`" for label in run["left_out"]) for run in runs]
    rows = []
    for name, one in found.items():
        line = [name]
        for run in one["runs"]:
            line += [ratio(run["auroc"].get(lang)) for lang in _ORDER]
        rows.append([*line, *(ratio(one["mean"].get(lang)) for lang in _ORDER)])
    heads = ["", *(f"{run}, {lang}" for run in ("first", "second", "mean") for lang in _ORDER)]
    return f"""{title}
Leave labels out: a contender learns from all labels but three and is then asked the test rows of all. AUROC:
how often does a row of an unknown label seem more of a stranger than a row of a known one (0.5 is chance)?
First run without {left[0]};
second without {left[1]}. *Agoge, as it ships* learns from the exemplars, all others from `domains_train.jsonl`.
{lines}
{table(heads, rows)}

How much of a stranger a text is: for Agoge, kNN, centroid and TF-IDF the entropy of the scores as a share of its
maximum, plus 1 - similarity to what is nearest (TF-IDF has none): the product's own measure of what is out of
domain. For the other routers, 1 - the confidence or similarity that they report for the route that they choose,
and 1 where there is none."""


def _clinc(found: Found | None) -> str:
    title = "## CLINC150\n"
    if found is None:
        return f"{title}\n{missing('clinc')}"
    rows = found["rows"]
    lines = [
        (
            name,
            ratio(one["accuracy"]),
            ratio(one["auroc"]),
            share(one["recall_at_95"]),
            time_of(one["microseconds"]),
        )
        for name, one in found["found"].items()
    ]
    heads = ("", "accuracy in scope", "AUROC out of scope", "strangers found where 95 % are kept", "µs")
    return f"""{title}
Its own {found["intents"]} intents as labels, English: {rows["train"]:,} rows to learn, {rows["test"]:,} in
scope and {rows["outside"]:,} out of scope to judge. No out-of-scope question was learned from.

{table(heads, lines)}"""


def _sources(found: Found | None, beside: Found | None) -> str:
    title = "## Sources never seen\n"
    if found is None:
        return f"{title}\n{missing('sources')}"
    rows = []
    for one in found["found"]:
        for lang in languages(one["summary"]):
            if lang != "all":
                figures = one["summary"][lang]
                rows.append(
                    (
                        one["held_out"],
                        lang,
                        f"{figures['rows']:,}",
                        *(ratio(figures[name]) for name in ("accuracy", "macro_f1", "ece")),
                    )
                )
    for lang in languages(found["mean"]):
        figures = found["mean"][lang]
        cells = [ratio(figures[name]) for name in ("accuracy", "macro_f1", "ece")]
        rows.append((f"**mean of {figures['groups']}**", lang, "", *cells))
    ours = (beside or {}).get("found", {}).get("Agoge", {}).get("summary")
    for lang in _ORDER if ours else ():
        figures = ours[lang]
        cells = [ratio(figures[name]) for name in ("accuracy", "macro_f1", "ece")]
        rows.append(("*no source left out, test set*", lang, f"{figures['rows']:,}", *cells))
    return f"""{title}
Agoge learned from `domains_train.jsonl` without one family of sources, and was judged on all rows of that
family, in both files. This is what a new kind of prompt costs. Families under 500 rows are left out together; a
language with under 50 rows is not given. Macro-F1 is over the labels that a family has, often few.

{table(("left out", "language", "rows", "accuracy", "macro-F1", "ECE"), rows)}"""


_HEAD = """# How well the classifier does
`make quality DATA=FOLDER` measured what stands here and wrote this page; edit nothing by hand. The numbers are
in [figures.json](quality/figures.json). Ratios are shares of 1. *ECE* is the expected calibration error over 15
bins (Guo et al. 2017): how far a stated confidence lies from the share that was right."""

_PLAIN = """

**Agoge** is `classifiers.train` on these rows, so not what ships, with confidence fitted on held-out rows
(`--held-out rows`), since here the test set comes from where the training set does; semantic-router's is, too.
*use+e5* is the same with [both encoders](classifier.md#encoders). **kNN**: the 10 nearest by cosine vote with
their similarity. **centroid**: softmax of the cosines to each label's mean vector, temperature 0.05.
**TF-IDF**: 2 to 5 letters within words, logistic regression with C = 10. No contender was tuned on the test
rows."""

_HOW = """## Run it
```
make quality DATA=FOLDER                      # everything, and this page
make quality DATA=FOLDER ONLY=shipped,ood     # some parts: shipped, contenders, ood, clinc, sources, peers
```
`FOLDER` holds `domains_train.jsonl` and `domains_test.jsonl` (a row is `{"text", "label", "lang", "source"}`)
and `clinc150/data_full.json`. The first two are labelled prompts from public sets: MMLU, GSM8K, MGSM,
StackExchange titles (CQADupStack), HealthSearchQA, MedMCQA, OpenTriviaQA, HWU64, SIB-200, Mr. TyDi, CLINC150
and smaller ones; their licences differ, and no row of them is part of this repository. CLINC150 is published at
github.com/clinc/oos-eval. Files of the same form with prompts of your own do as well.

It ends with 1, naming language, figure, value and floor, when the shipped classifier falls below
`bench/quality/floors.json`, and with 2 when `DATA` is missing or incomplete. The other routers run in an
environment of their own, `.venv-peers` (some 600 MB, `peers.txt`), and talk to ours through files of vectors
and numbers; redisvl's Redis is started for it. Encoded texts are kept under `.agoge/quality` by their
sha256."""
