"""The reference of built blends on a tiny random Llama: the members' sum, token by token, and nobody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from blends.build import build
from blends.manifest import Manifest
from blends.reference import read_reference
from blends.runtime import Runtime
from blends.spec import Spec
from blends.spoken import ReferenceUncomputable, speak
from tests.blends import tiny

pytestmark = pytest.mark.torch
PROMPTS = ("why is the sky", "run fast how")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A base folder, two adapters, and the three blends built from them."""
    pytest.importorskip("torch", reason="the reference is computed with the extra [train]")
    for seed, name in enumerate(("core", "sport"), 1):
        tiny.adapter(tmp_path / name, seed)
        config = tmp_path / name / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "me/tiny"}))
    tiny.model().save_pretrained(str(tmp_path / "base"))
    tiny.tokenizer().save_pretrained(str(tmp_path / "base"))
    build(specs(), tmp_path / "built", tmp_path, 1)
    return tmp_path


def specs() -> list[Spec]:
    core, sport = ("core", 1.0, "./core"), ("sport", 0.8, "./sport")
    return [Spec("1", (core,), "me/tiny"), Spec("2", (core, sport), "me/tiny"), Spec("3", (sport,), "me/tiny")]


def run(place: Path, *args: str) -> Result:
    from router.cli.main import command

    return CliRunner().invoke(
        command, ["blends", "reference", "--blends", str(place / "built"), "--base", str(place / "base"),
                  *(word for prompt in PROMPTS for word in ("--prompt", prompt)), "--tokens", "6", *args],
    )  # fmt: skip


def test_every_blend_is_spoken_by_its_members_at_their_weights(place: Path) -> None:
    result = run(place, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (Path(told["file"]).parent, told["blends"]) == (place / "built", 3)
    reference = read_reference(place / "built")
    assert reference is not None
    assert reference.computed_by.startswith("peft ")
    names = {served.rpartition("-")[0]: served for served in reference.blends}
    assert names.keys() == {"core", "sport", "core+sport"}
    runtime = Runtime((tiny.model(), tiny.tokenizer()))
    for name in ("core", "sport"):
        runtime.add(name, place / name)
    weights = {"core": {"core": 1.0}, "sport": {"sport": 0.8}, "core+sport": {"core": 1.0, "sport": 0.8}}
    for name, served in names.items():
        lines = {line.prompt: line for line in reference.blends[served]}
        assert lines
        for prompt in PROMPTS:
            wanted = runtime.continued(prompt, weights[name], 6)
            assert (prompt in lines) == bool(wanted.tokens)  # who ends at once says nothing to compare
            if wanted.tokens:
                assert lines[prompt].tokens == wanted.tokens
                assert lines[prompt].logprobs == pytest.approx(wanted.logprobs, abs=1e-5)
    base = {line.prompt: line.tokens for line in reference.base}
    assert base == {each: said for each in PROMPTS if (said := runtime.continued(each, {}, 6).tokens)}
    spoken = [reference.base, *reference.blends.values()]
    assert len({tuple(line.logprobs for line in lines) for lines in spoken}) == 4  # four voices


def test_a_member_that_changed_since_is_refused_and_the_old_file_stays(place: Path) -> None:
    assert run(place).exit_code == 0
    before = (place / "built" / "reference.json").read_bytes()
    config = place / "sport" / "adapter_config.json"
    config.write_text(config.read_text() + "\n")
    result = run(place)
    assert result.exit_code == 1
    assert "sport (./sport) has changed since the blends were built" in result.output
    assert (place / "built" / "reference.json").read_bytes() == before


def test_blends_of_two_bases_are_refused_by_name(place: Path) -> None:
    built = build(specs(), place / "again", place, 1).manifest
    from dataclasses import replace

    mixed = Manifest((built.entries[0], replace(built.entries[1], base="me/other")))
    with pytest.raises(ReferenceUncomputable, match="these blends are of me/other, me/tiny"):
        speak(mixed, place, place / "base")
