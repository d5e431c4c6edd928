"""Every part on small sets, and the page that is rendered from what they found."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.quality import kept, page, parts, pictures
from bench.quality.__main__ import PAGE
from bench.quality.peers import Peer
from bench.quality.told import told
from bench.quality.vectors import Kept
from tests.quality import toy


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What all parts find on the toy sets, as it is read from its file."""
    folder = tmp_path_factory.mktemp("quality")
    toy.write(folder)
    exemplars = folder / "exemplars"
    exemplars.mkdir()
    shutil.copy(folder / "domains_train.jsonl", exemplars / "all.jsonl")
    encoder = Kept(toy.Words(), folder)
    second = Kept(toy.Words(), folder / "second")
    bench = parts.Bench(folder, encoder, second, Path(sys.executable), toy.silent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "EXEMPLARS", exemplars)
        patch.setattr(parts, "FEWEST", 1)
        patch.setattr("bench.quality.data.LEAST", 20)
        fake = "tests.quality.fake_peer"
        fakes = {
            "neighbour": Peer(encoder, fake, python=bench.python),
            "broken": Peer(encoder, fake, ("--dies",), bench.python),
        }
        patch.setattr(parts, "peers", lambda encoder, python: fakes)
        file = folder / "figures.json"
        for part in kept.PARTS:
            kept.save(kept.load(file) | {part: parts.MEASURE[part](bench)}, file)
    return kept.load(file)


def test_every_part_is_known_by_name() -> None:
    assert tuple(parts.MEASURE) == kept.PARTS


def test_the_page_shows_every_table(document: dict[str, Any]) -> None:
    text = page.render(document)
    assert page.NOT_RUN not in text
    for title in ("that ships", "Label by label", "Side by side", "strangers?", "CLINC150", "Sources never seen"):
        assert title in text
    for name in ("Agoge", "Agoge, use+e5", "kNN", "kNN, use+e5", "centroid", "TF-IDF", "neighbour"):
        assert f"\n| {name} | " in text
    assert "| broken | could not be run |" in text
    assert "**broken** could not be run." in text
    for label in toy.LABELS:
        assert f"\n| `{label}` | " in text
    for picture in pictures.NAMES:
        assert f"](quality/{picture})" in text


def test_tables_are_whole(document: dict[str, Any]) -> None:
    width = 0
    for line in page.render(document).split("\n"):
        assert not line.startswith("|") or not width or line.count("|") == width, line
        width = line.count("|") if line.startswith("|") else 0


@pytest.mark.parametrize("part", kept.PARTS)
def test_a_missing_part_says_that_it_was_not_run(document: dict[str, Any], part: str) -> None:
    text = page.render({name: found for name, found in document.items() if name != part})
    assert f"{page.NOT_RUN}: `make quality DATA=FOLDER ONLY={part}` fills this in." in text


def test_nothing_measured_is_a_page_too() -> None:
    text = page.render({})
    for part in kept.PARTS:
        assert f"ONLY={part}`" in text
    assert told({}) == []


def test_the_summary_speaks_of_everybody(document: dict[str, Any]) -> None:
    text = "\n".join(told(document))
    for start in (
        "ships, en: ",
        "Agoge: en macro-F1 ",
        "broken: could",
        "CLINC150, kNN: ",
        "sources never seen, ru: ",
    ):
        assert start in text


def test_no_text_of_the_sets_is_kept(document: dict[str, Any]) -> None:
    text = repr(document)
    assert not [line["text"] for line in toy.lines(10, 0) + toy.lines(3, 100) if line["text"] in text]


def test_pictures_come_from_figures(document: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert [path.name for path in pictures.draw(document, tmp_path)] == list(pictures.NAMES)
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures.NAMES)
    assert pictures.draw({}, tmp_path / "none") == []


def test_the_committed_page_is_what_the_committed_figures_say() -> None:
    assert kept.load(), "docs/quality/figures.json is gone"
    assert PAGE.read_text("utf-8") == page.render(kept.load()), "python -m bench.quality --render writes it"
    assert all((PAGE.with_suffix("") / name).is_file() for name in pictures.NAMES)
