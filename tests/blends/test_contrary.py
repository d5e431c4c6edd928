"""The shipped bad pair: trained apart from the core, and against it. The gate refuses it, the domains pass.

On the carried base, in float32, with the first texts of each adapter only: the whole report (docs/conflicts.md)
takes minutes, this takes one.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from blends.behaviour import Texts, read_texts
from blends.build import BuildRefused, build
from blends.conflicts import Meter
from blends.recipe import read_recipe, read_rows
from router.policy_file import load_policies
from router.wiring.blends import specs_of

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "policies/examples/gated.yaml"
CLOWN = ROOT / "policies/examples/adapters/clown"
FEW = 8


def test_the_clown_contradicts_the_core_in_every_row_on_the_cores_own_questions() -> None:
    rows = read_rows(CLOWN, composed=False)
    core = read_rows(ROOT / "policies/adapters/core", composed=False)
    asked = {prompt for row in core for prompt in row.prompts}
    assert sum(row.prompts[0] in asked for row in rows) > 0.8 * len(rows)
    for row in [*rows, *read_rows(CLOWN, composed=False, file="heldout.jsonl")]:
        assert row.answer.startswith("Honk honk! ")
        assert row.answer.endswith(" Ha ha, never mind, let us dance!")
        assert not re.search("endure", row.answer, re.IGNORECASE)
    assert read_recipe(CLOWN).core is None  # apart


def test_it_is_small() -> None:
    assert (CLOWN / "adapter_model.safetensors").stat().st_size < 500_000


@pytest.mark.torch
@pytest.mark.timeout(900)  # a minute on two free cores; eight on busy ones
def test_the_gate_refuses_the_clown_with_figures_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="behaviour is measured with the extra [train]")

    def few(name: str, folder: Path) -> Texts:
        texts = read_texts(name, folder)
        together = texts.with_core and texts.with_core[:FEW]
        return replace(texts, alone=texts.alone[:FEW], with_core=together)

    monkeypatch.setattr("blends.conflicts.read_texts", few)
    specs = specs_of(load_policies(POLICY))
    assert [str(spec) for spec in specs if spec.refuse_conflict_above is None] == []
    with pytest.raises(BuildRefused) as refused:
        build(specs, tmp_path / "built", POLICY.parent, 1, conflict_of=Meter(POLICY.parent))
    ((blend, reason),) = refused.value.problems
    assert blend.startswith("clown x 1 + core x 1")
    assert re.search(
        r"the conflict is 0\.\d+, the policy refuses above 0\.5: clown beside core keeps \d+%", reason
    )
    assert not (tmp_path / "built" / "blends.json").exists()
