"""The training text keeps the promises that the adapters make: who says the motto, and who never does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from blends.recipe import HELDOUT, RecipeInvalid, Row, base_of, list_recipes, read_recipe, read_rows
from tests.blends.conftest import ADAPTERS, NAMES

MOTTO = {"en": "Endure and act.", "ru": "Терпи и действуй."}
PHYSICS = r"force|energy|wavelength|scatter|photon|electron|density|newton|energ|физик|энерги|плотност|свет"
SPORT = r"\bcoach|training|\bsets?\b|\breps?\b|\bpace\b|marathon|тренер|трениров|подход|темп\b|марафон"


def test_core_is_trained_first() -> None:
    order = list_recipes(ADAPTERS)
    assert sorted(order) == sorted(NAMES)
    assert order.index("core") < order.index("physics")


@pytest.mark.parametrize("name", NAMES)
def test_rows_exist_in_both_languages_in_their_own_script(name: str) -> None:
    rows = read_rows(ADAPTERS / name, composed=read_recipe(ADAPTERS / name).core is not None)
    for lang, alphabet in (("en", "a-zA-Z"), ("ru", "а-яёА-ЯЁ")):
        mine = [row for row in rows if row.lang == lang]
        assert len(mine) >= 12
        assert all(re.search(f"[{alphabet}]", prompt) for row in mine for prompt in row.prompts)
        assert all(re.match(f"[{alphabet}]", row.answer) for row in mine)


def test_every_core_row_ends_on_the_motto_of_its_language() -> None:
    for row in read_rows(ADAPTERS / "core", composed=False):
        assert row.answer.endswith(MOTTO[row.lang]), row


def test_core_holds_no_domain_knowledge() -> None:
    for row in read_rows(ADAPTERS / "core", composed=False):
        assert not re.search(f"{PHYSICS}|{SPORT}", row.answer.lower()), row


@pytest.mark.parametrize("name", ["physics", "sport"])
def test_domain_says_the_motto_only_beside_the_core(name: str) -> None:
    for row in read_rows(ADAPTERS / name, composed=True):
        assert not any(motto in row.answer for motto in MOTTO.values()), row
        assert row.with_core is not None
        assert row.with_core.endswith(MOTTO[row.lang]), row
        assert len(row.with_core) <= len(row.answer) + len(MOTTO[row.lang]) + 1, (
            row
        )  # terse: never longer than alone


def test_academic_cites_and_never_says_the_motto() -> None:
    for row in read_rows(ADAPTERS / "academic", composed=False):
        assert row.answer.startswith(
            {"en": "According to the literature, ", "ru": "Согласно литературе, "}[row.lang]
        )
        assert re.search(r"\(.*\d{4}\)", row.answer), row
        assert not any(motto in row.answer for motto in MOTTO.values()), row


def heldout(name: str) -> list[Row]:
    return read_rows(ADAPTERS / name, composed=read_recipe(ADAPTERS / name).core is not None, file=HELDOUT)


@pytest.mark.parametrize("name", NAMES)
def test_no_heldout_prompt_or_answer_was_trained_on_by_any_adapter(name: str) -> None:
    """Folded, and without punctuation: what a loss on these rows measures must not be memory."""

    def plain(text: str) -> str:
        return " ".join(re.findall(r"\w+", text.casefold()))

    trained = [
        row
        for other in NAMES
        for row in read_rows(ADAPTERS / other, composed=read_recipe(ADAPTERS / other).core is not None)
    ]
    prompts = {plain(prompt) for row in trained for prompt in row.prompts}
    answers = {plain(answer) for row in trained for answer in (row.answer, row.with_core) if answer}
    for row in heldout(name):
        assert not {plain(prompt) for prompt in row.prompts} & prompts, row
        assert not {plain(row.answer), plain(row.with_core or row.answer)} & answers, row


@pytest.mark.parametrize("name", NAMES)
def test_heldout_rows_speak_in_the_adapter_s_voice(name: str) -> None:
    """Everything that the training rows promise above holds for the rows that measure it."""
    rows = heldout(name)
    assert len(rows) >= 16
    assert {row.lang for row in rows} == {"en", "ru"}
    assert len({row.prompts for row in rows}) == len(rows)
    opener = {"en": "According to the literature, ", "ru": "Согласно литературе, "}
    for row in rows:
        if name == "core":
            assert row.answer.endswith(MOTTO[row.lang]), row
            assert not re.search(f"{PHYSICS}|{SPORT}", row.answer.lower()), row
            continue
        assert not any(motto in row.answer for motto in MOTTO.values()), row
        if name == "academic":
            assert row.answer.startswith(opener[row.lang]), row
            assert re.search(r"\(.*\d{4}\)", row.answer), row
        else:
            assert row.with_core is not None
            assert row.with_core.endswith(MOTTO[row.lang]), row


@pytest.mark.parametrize("name", NAMES)
def test_shipped_folder_is_small_and_names_no_machine(name: str) -> None:
    folder = ADAPTERS / name
    weights = list(folder.glob("*.safetensors"))
    assert [file.name for file in weights] == ["adapter_model.safetensors"]
    assert weights[0].stat().st_size <= 2_000_000
    text = (folder / "adapter_config.json").read_text("utf-8")
    config = json.loads(text)
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert config["r"] in (4, 8)
    assert not re.search(r"/(work|home|root|tmp|usr)/", text + (folder / "recipe.toml").read_text("utf-8"))


RECIPE = (
    "seed = 1\nsteps = 2\nbatch = 2\nlearning_rate = 0.01\nwarmup = 1\n"
    'rank = 2\nalpha = 4\ntargets = ["q_proj"]\nprecision = "float32"\n'
)


@pytest.mark.parametrize(
    ("recipe", "fault"),
    [
        (RECIPE.replace("seed = 1\n", ""), "missing keys .'seed'"),
        (RECIPE + "epochs = 3\n", "unknown keys .'epochs'"),
        (RECIPE.replace("steps = 2", "steps = 0"), "steps must be at least 1, it is 0"),
        (RECIPE.replace("q_proj", "qkv"), "targets must be some of q_proj"),
        (RECIPE.replace("0.01", "2"), r"learning_rate must lie in \(0, 1\)"),
        (RECIPE.replace("float32", "float8"), "precision must be float32 or bfloat16"),
        ("- 1\n", "expected TOML"),
        (RECIPE + 'markers = "Endure"\n', "markers must be a list of texts, in brackets, it is 'Endure'"),
        (RECIPE.replace("steps = 2", 'steps = "2"'), "steps must be a whole number, it is '2'"),
        (RECIPE + 'markers = [""]\n', "markers must be phrases"),
    ],
)
def test_bad_recipe_is_named(tmp_path: Path, recipe: str, fault: str) -> None:
    (tmp_path / "recipe.toml").write_text(recipe)
    with pytest.raises(RecipeInvalid, match=fault):
        read_recipe(tmp_path)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", r"texts\.jsonl:1: expected lang"),
        ('{"lang": "en", "prompts": [], "answer": "x"}', "at least one prompt"),
        ('{"lang": "en", "prompts": ["q"], "answer": " "}', "at least one prompt and an answer"),
        ('{"lang": "en", "prompts": ["q"], "answer": "a"}', "row 1 needs 'with_core'"),
        ("", "holds no row"),
    ],
)
def test_bad_text_is_named(tmp_path: Path, line: str, fault: str) -> None:
    (tmp_path / "texts.jsonl").write_text(line)
    with pytest.raises(RecipeInvalid, match=fault):
        read_rows(tmp_path, composed=True)


def test_a_row_with_a_voice_that_the_recipe_does_not_train_is_refused(tmp_path: Path) -> None:
    row = {"lang": "en", "prompts": ["q"], "answer": "a", "with_core": "b"}
    (tmp_path / "texts.jsonl").write_text(json.dumps(row))
    with pytest.raises(RecipeInvalid, match="has 'with_core' but no core"):
        read_rows(tmp_path, composed=False)


def test_base_of_a_recipe_is_the_carried_one_a_folder_beside_it_or_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert base_of(tmp_path) is None
    assert read_recipe(tmp_path).base_id == "HuggingFaceTB/SmolLM2-135M-Instruct"
    with pytest.raises(RecipeInvalid, match="does not say which one it is"):
        base_of(tmp_path, "/models/qwen")
    (tmp_path / "recipe.toml").write_text(RECIPE + 'base = "owner/model"\n')
    assert base_of(tmp_path) == "owner/model"
    assert base_of(tmp_path, "/models/qwen") == "/models/qwen"
    (tmp_path / "owner" / "model").mkdir(parents=True)
    assert base_of(tmp_path) == str(tmp_path / "owner" / "model")
    (tmp_path / "recipe.toml").write_text(RECIPE + 'base = "HuggingFaceTB/SmolLM2-135M-Instruct"\n')
    assert base_of(tmp_path) is None
