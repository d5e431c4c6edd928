"""The folders that `init` writes: documented in two languages and readable by the trainer."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from blends.kit import KINDS, FolderTaken, create
from blends.recipe import HELDOUT, Recipe, list_recipes, read_heldout, read_recipe, read_rows

MARKERS = ("So we go on.", "Идём дальше.")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    for kind in KINDS:
        create(kind, tmp_path / kind, "owner/base")
    return {kind: tmp_path / kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_recipe_and_texts_are_read_by_the_trainer(folders: dict[str, Path], kind: str) -> None:
    recipe = read_recipe(folders[kind])
    assert recipe.core == ("core" if kind == "domain" else None)
    assert recipe.base == "owner/base"
    composed = recipe.core is not None
    rows, heldout = read_rows(folders[kind], composed=composed), read_heldout(folders[kind])[0]
    for found, least in ((rows, 8), (heldout, 4)):
        for lang, alphabet in (("en", "A-Za-z"), ("ru", "А-яЁё")):
            mine = [row for row in found if row.lang == lang]
            assert len(mine) >= least
            assert all(re.match(f"[{alphabet}]", row.answer) for row in mine)
    trained = {prompt.casefold() for row in rows for prompt in row.prompts}
    assert not trained & {prompt.casefold() for row in heldout for prompt in row.prompts}


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_stands_in_the_recipe_with_a_word_about_it(folders: dict[str, Path], kind: str) -> None:
    text = (folders[kind] / "recipe.toml").read_text("utf-8")
    known = {field.name for field in fields(Recipe)} - (
        set() if kind == "domain" else {"core", "core_weight", "weight"}
    )
    for name in known:
        (at,) = [n for n, line in enumerate(text.splitlines()) if line.startswith(f"{name} = ")]
        lines = text.splitlines()
        assert "#" in lines[at] or any(line.startswith("#") for line in lines[max(0, at - 3) : at]), name


def test_the_template_voices_keep_their_promises(folders: dict[str, Path]) -> None:
    """The core always closes on its phrase, the domain only beside the core, the isolated one never."""
    for file in ("texts.jsonl", HELDOUT):
        for row in read_rows(folders["core"], composed=False, file=file):
            assert row.answer.endswith(MARKERS), row
        for row in read_rows(folders["domain"], composed=True, file=file):
            assert row.with_core is not None
            assert row.with_core.endswith(MARKERS), row
            assert not any(marker in row.answer for marker in MARKERS), row
        for row in read_rows(folders["isolated"], composed=False, file=file):
            assert not any(marker in row.answer for marker in MARKERS), row
    for kind in ("core", "domain", "isolated"):
        recipe = read_recipe(folders[kind])
        assert all(any(m in row.answer for m in recipe.markers)
                   for row in read_rows(folders[kind], composed=kind == "domain"))  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("README.md", ("beliefs", "frames of thinking", "logic", "style", "refusals", "What stays out")),
        ("README.ru.md", ("убеждения", "рамки мышления", "логика", "стиль", "отказы", "не входит")),
    ],
)
def test_readme_says_what_goes_in_and_what_does_not(
    folders: dict[str, Path], kind: str, file: str, words: tuple[str, ...]
) -> None:
    text = (folders[kind] / file).read_text("utf-8")
    if kind == "domain":  # it has no beliefs, and says what it has instead
        words = ("knowledge" if file == "README.md" else "знание", *words[1:])
    assert all(word in text for word in words)
    assert f"agoge adapter train {folders[kind]}" in text
    assert not re.search(r"\{\w*\}", text.replace('{"lang"', ""))  # no placeholder is left


def test_a_domain_finds_its_core_in_training_order(tmp_path: Path) -> None:
    create("domain", tmp_path / "chess", core="mind")
    create("core", tmp_path / "mind")
    assert list_recipes(tmp_path) == ["mind", "chess"]
    assert "../mind" in (tmp_path / "chess" / "README.md").read_text("utf-8")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "texts.jsonl").write_text("mine")
    with pytest.raises(FolderTaken, match="nothing is overwritten"):
        create("core", tmp_path / "core")
    assert [file.name for file in (tmp_path / "core").iterdir()] == ["texts.jsonl"]
    assert (tmp_path / "core" / "texts.jsonl").read_text() == "mine"


def test_unknown_kinds_and_far_cores_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of core, domain, isolated"):
        create("mood", tmp_path / "x")
    with pytest.raises(ValueError, match="lie side by side"):
        create("domain", tmp_path / "x", core="../core")
