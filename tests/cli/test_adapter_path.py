"""From an empty folder to a served core + one domain: the tutorial's path, with few steps on a random Llama.

The base is a GGUF file of 4 layers whose tokens are bytes. It is trained on through transformers and served
through llama.cpp, so the last test also says that both read the same adapters in the same way.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.backends.tiny_llama import write_base

pytestmark = pytest.mark.torch

POLICY = """\
version: 1
base: me/tiny
adapters:
  core:  { from: ./core,  when: always, aliases: [ядро] }
  chess: { from: ./chess, when: asked, weight: 0.8, aliases: [шахматы] }
  court: { from: ./court, when: asked, alone: true }
compose: { at_most: 1, merge: exact }
backends: [primary]
"""


def agoge(*args: str | Path) -> Result:
    from router.cli.main import command

    return CliRunner().invoke(command, list(map(str, args)))


def good(*args: str | Path) -> Result:
    result = agoge(*args)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="training is an extra: pip install -e '.[train]'")
    pytest.importorskip("gguf")
    return write_base(tmp_path_factory.mktemp("base") / "tiny.gguf")


@pytest.fixture(scope="module")
def my(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """A core, a domain beside it and an isolated adapter, each from `init` to trained."""
    place = tmp_path_factory.mktemp("my")
    for kind, name in (("core", "core"), ("domain", "chess"), ("isolated", "court")):
        good("adapter", "init", kind, place / name, "--base", "me/tiny")
        result = good("adapter", "train", place / name, "--base", base, "--steps", "16", "--json")
        assert json.loads(result.stdout) == {"adapters": [str(place / name)]}
        seen = re.findall(rf"{name}: step (\d+) of 16, loss \d", result.output)
        assert seen == ["1", "10", "16"]  # no terminal, so lines
    (place / "policy.yaml").write_text(POLICY)
    return place


def findings(my: Path, base: Path, name: str, *more: str | Path) -> tuple[int, dict[str, dict[str, object]]]:
    args = ("--base", base, "--gain", "0.02", "--kept", "0.3", "--markers", "0", "--prompts", "2", "--json")
    result = agoge("adapter", "check", my / name, *args, *more)
    found = {each["what"]: each for each in json.loads(result.stdout)["findings"]}
    return result.exit_code, found


def test_trained_folder_names_its_base_and_keeps_its_texts(my: Path) -> None:
    for name in ("core", "chess", "court"):
        config = json.loads((my / name / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "me/tiny"
        assert sorted(file.name for file in (my / name).iterdir()) == [
            "README.md", "README.ru.md", "adapter_config.json", "adapter_model.safetensors", "heldout.jsonl",
            "recipe.toml", "texts.jsonl",
        ]  # fmt: skip


def test_check_measures_a_domain_beside_its_core(my: Path, base: Path) -> None:
    code, found = findings(my, base, "chess")
    assert found.keys() == {
        "chess alone knows its texts", "chess alone says its marker", "chess kept beside core",
        "core kept beside chess", "core + chess say core's marker", "chess alone says core's marker",
    }  # fmt: skip
    assert code == 0, found
    assert found["chess alone knows its texts"]["low"] > 0  # type: ignore[operator]


def test_check_of_an_isolated_one_looks_for_the_core(my: Path, base: Path) -> None:
    _, found = findings(my, base, "court", "--core", my / "core")
    assert found.keys() == {
        "court alone knows its texts", "court alone says its marker", "leak of core into court",
        "court says core's marker",
    }  # fmt: skip
    assert found["court says core's marker"]["said"] == "0 of 4 answers; it must be none"


def test_a_missed_threshold_leaves_with_one(my: Path, base: Path) -> None:
    result = agoge("adapter", "check", my / "core", "--base", base, "--gain", "0.99", "--prompts", "1")
    assert result.exit_code == 1
    assert "FAILS" in result.output
    assert "of 2 fail" in result.output


def test_an_interrupted_training_changes_nothing(my: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C in the third step: the adapter that was there is there, byte for byte, and nothing beside it."""
    import blends.train as training

    before = {file: file.read_bytes() for file in my.rglob("*") if file.is_file()}
    steps = iter(range(3))
    whole: Callable[..., object] = training.answer_losses

    def interrupted(*args: object) -> object:
        if next(steps) == 2:
            raise KeyboardInterrupt
        return whole(*args)

    monkeypatch.setattr(training, "answer_losses", interrupted)
    assert agoge("adapter", "train", my / "core", "--base", base, "--seed", "7").exit_code != 0
    assert {file: file.read_bytes() for file in my.rglob("*") if file.is_file()} == before


def test_policy_and_blends_take_the_folders_as_they_are(my: Path) -> None:
    assert "good" in good("policy", "check", my / "policy.yaml").output
    built = good("blends", "build", my / "policy.yaml", "--out", my / "built", "--json")
    blends = json.loads(built.stdout)["blends"]
    assert sorted(len(blend["members"]) for blend in blends) == [1, 1, 2]
    report = good("blends", "conflicts", my / "policy.yaml", "--no-behaviour")
    assert "chess+core" in report.output


def test_the_served_blend_says_what_peft_says(my: Path, base: Path, tmp_path: Path) -> None:
    """llama.cpp on the same file, greedy, core 1.0 + chess 0.8, against the runtime sum in torch."""
    pytest.importorskip("xllamacpp", reason="serving in the process is an extra: pip install -e '.[embedded]'")
    from blends.gguf import cached
    from blends.runtime import Runtime
    from router.backends.embedded import EmbeddedBackend
    from router.core.blend import Blend
    from router.core.conversation import Message
    from router.core.reply import Delta, Prompt

    weights = {"core": 1.0, "chess": 0.8}
    runtime = Runtime.load(base)
    for name in weights:
        runtime.add(name, my / name)
    question = "What is a fork?"
    asked = f"u:{question}\na:"  # the file's template; what llama.cpp puts before it, a raw text gets here too
    wanted = runtime.continued(asked, weights, 24).text
    assert wanted != runtime.continued(asked, {}, 24).text

    async def served() -> str:
        engine = EmbeddedBackend("path", base, {name: cached(my / name, base, tmp_path) for name in weights})
        await engine.start()
        blend = Blend.of("base", weights, dict.fromkeys(weights, "."))
        prompt = Prompt(blend, (Message("user", question),), {"temperature": 0, "max_tokens": 24})
        said = [event.content async for event in engine.stream(prompt) if isinstance(event, Delta)]
        await engine.aclose()
        return "".join(said).strip()

    assert asyncio.run(served()) == wanted.strip()
