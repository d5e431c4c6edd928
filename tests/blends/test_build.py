"""A build: content-addressed, incremental, parallel, all or nothing; what is refused is refused by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from blends import folders
from blends.adapter import read_adapter
from blends.build import BuildBusy, BuildRefused, build
from blends.compose import Composite
from blends.manifest import FILE, Manifest, read_manifest
from blends.spec import Spec
from blends.verify import proved
from blends.workers import cores
from tests.blends.small import BASE, built_folders, spec, write_adapter

WEIGHTS = "adapter_model.safetensors"
CORE, PAIR = spec(("core", 1.0)), spec(("core", 1.0), ("physics", 0.8))
ALONE = spec(("academic", 1.0), alone=True)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    place = tmp_path / "sources"
    for seed, (name, rank) in enumerate([("core", 12), ("physics", 4), ("academic", 4)]):
        write_adapter(place / name, rank, seed)
    return place


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "built"


def test_every_blend_is_a_proved_folder_with_an_entry(sources: Path, out: Path) -> None:
    built = build([PAIR, CORE, ALONE], out, sources, jobs=1)
    assert read_manifest(out) == built.manifest
    entries = {entry.blend: entry for entry in built.manifest.entries}
    assert entries.keys() == {PAIR.id, CORE.id, ALONE.id}
    assert built_folders(out) == {entry.served for entry in entries.values()}
    pair = entries[PAIR.id]
    assert [(part.name, part.weight, part.source) for part in pair.members] == [
        ("core", 1.0, "./core"),
        ("physics", 0.8, "./physics"),
    ]
    assert (pair.rank, pair.bucket, pair.modules, pair.layers) == (16, 16, ("q_proj", "v_proj"), 2)
    assert pair.served.startswith("core+physics-")
    assert not set(pair.served) & set(",=@:")
    # 2 layers x (16 x 64 + 64 x 16 + 16 x 64 + 32 x 16) numbers, two bytes each in bf16
    assert pair.memory_bytes == 2 * (16 * 64 + 64 * 16 + 16 * 64 + 32 * 16) * 2
    assert pair.bytes == sum((out / pair.served / f).stat().st_size for f in (WEIGHTS, "adapter_config.json"))
    assert (entries[ALONE.id].alone, entries[CORE.id].alone) == (True, False)
    members = [(read_adapter(sources / "core"), 1.0), (read_adapter(sources / "physics"), 0.8)]
    assert proved(out / pair.served, members) == pair.error < 1e-6
    for entry in entries.values():
        config = json.loads((out / entry.served / "adapter_config.json").read_text())
        assert (config["r"], config["lora_alpha"]) == (entry.bucket, entry.bucket)
        assert config["base_model_name_or_path"] == BASE


def test_a_single_adapter_is_rewritten_to_a_rank_that_engines_serve(sources: Path, out: Path) -> None:
    (entry,) = build([CORE], out, sources).manifest.entries
    assert (entry.rank, entry.bucket) == (12, 16)  # raw, TGI would scale it wrongly


def test_what_is_there_is_reused_byte_by_byte(sources: Path, out: Path) -> None:
    first = build([PAIR, CORE], out, sources)
    stamps = {name: (out / name / WEIGHTS).stat().st_mtime_ns for name in first.made}
    again = build([PAIR, CORE, ALONE], out, sources)
    assert again.reused == first.made
    assert [name.partition("-")[0] for name in again.made] == ["academic"]
    assert {name: (out / name / WEIGHTS).stat().st_mtime_ns for name in first.made} == stamps


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-4] + b"\0\0\0\1"),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / "adapter_config.json").write_text("{}"),
        lambda folder: (folder / "composed.json").write_text("{}"),
        lambda folder: (folder / "composed.json").unlink(),
    ],
)
def test_a_damaged_folder_is_built_again(sources: Path, out: Path, damage: Callable[[Path], object]) -> None:
    first = build([PAIR], out, sources)
    (name,) = first.made
    good = (out / name / WEIGHTS).read_bytes()
    damage(out / name)
    again = build([PAIR], out, sources)
    assert (again.made, again.reused) == ((name,), ())
    assert (out / name / WEIGHTS).read_bytes() == good
    assert again.manifest == first.manifest
    assert built_folders(out) == {name}


def test_a_retrained_adapter_gets_another_name_and_the_blend_stays(sources: Path, out: Path) -> None:
    (before,) = build([PAIR], out, sources).manifest.entries
    write_adapter(sources / "physics", 4, seed=99)
    (after,) = build([PAIR], out, sources).manifest.entries
    assert after.blend == before.blend
    assert after.served != before.served
    assert built_folders(out) == {before.served, after.served}  # an engine may still hold the old one


def test_moving_an_adapter_changes_no_name(sources: Path, out: Path) -> None:
    (before,) = build([PAIR], out, sources).manifest.entries
    (sources / "physics").rename(sources / "natural")
    moved = replace(PAIR, members=(PAIR.members[0], ("physics", 0.8, "./natural")))
    (after,) = build([moved], out, sources).manifest.entries
    assert after.served == before.served


@pytest.mark.parametrize(
    "other",
    [
        spec(("core", 1.0), ("physics", 0.7)),
        spec(("core", 0.9), ("physics", 0.8)),
        spec(("core", 1.0), ("physics", 0.8), method="svd(rank=16)"),
    ],
)
def test_whatever_changes_the_update_changes_the_name(sources: Path, out: Path, other: Spec) -> None:
    other = replace(other, id="other-id")
    one, two = build([PAIR, other], out, sources).manifest.entries
    assert one.served != two.served


def test_two_policies_of_one_content_share_a_folder(sources: Path, out: Path) -> None:
    built = build([PAIR, replace(PAIR, id="another-id")], out, sources)
    assert len(built.manifest.entries) == 2
    assert len(built.made) == len(built_folders(out)) == 1


def test_unnamed_folders_go_on_request_only_and_nothing_else_goes(sources: Path, out: Path) -> None:
    gone = build([PAIR], out, sources).made
    build([CORE], out, sources)
    (out / "somebody's notes").mkdir()
    built = build([CORE], out, sources, prune_unnamed=True)
    assert built.pruned == gone
    assert built_folders(out) == {*built.reused, "somebody's notes"}


def test_lossy_only_by_name_and_its_error_is_in_the_manifest(sources: Path, out: Path) -> None:
    lossy = spec(("core", 1.0), ("physics", 0.8), method="svd(rank=8)")
    single = spec(("core", 1.0), method="svd(rank=8)")
    entries = {entry.blend: entry for entry in build([lossy, single], out, sources).manifest.entries}
    assert entries[lossy.id].method == "svd(rank=8)"
    assert entries[lossy.id].bucket == 8
    assert 0.01 < entries[lossy.id].error < 1
    assert entries[single.id].method == "exact"
    assert entries[single.id].error < 1e-6


def test_processes_give_the_same_bytes_as_one(sources: Path, tmp_path: Path) -> None:
    specs = [PAIR, CORE, ALONE, spec(("physics", 0.5))]
    said: list[tuple[int, int, str]] = []
    one = build(specs, tmp_path / "one", sources, jobs=1)
    two = build(specs, tmp_path / "two", sources, jobs=2, progress=lambda *what: said.append(what))
    assert one.manifest.entries == two.manifest.entries
    for entry in one.manifest.entries:
        assert (tmp_path / "one" / entry.served / WEIGHTS).read_bytes() == (
            tmp_path / "two" / entry.served / WEIGHTS
        ).read_bytes()
    assert [(done, total) for done, total, _ in said] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert {what for _, _, what in said} == set(two.made)


@pytest.mark.parametrize("jobs", [1, 2])
def test_everything_that_cannot_be_built_is_named_and_the_old_manifest_stays(
    sources: Path, out: Path, jobs: int
) -> None:
    good = build([CORE], out, sources).manifest
    write_adapter(sources / "weird", 4, use_dora=True)
    write_adapter(sources / "foreign", 4, base="other/base")
    specs = [CORE, PAIR, spec(("nobody", 1.0)), spec(("weird", 1.0)), spec(("core", 1.0), ("foreign", 1.0))]
    with pytest.raises(BuildRefused) as raised:
        build(specs, out, sources, jobs)
    problems = dict(raised.value.problems)
    assert problems.keys() == {
        "nobody x 1 (nobody-policyid)",
        "weird x 1 (weird-policyid)",
        "core x 1 + foreign x 1 (core+foreign-policyid)",
    }
    said = "\n".join(problems.values())
    for words in ("there is no folder", "use_dora", "different base models"):
        assert words in said
    assert read_manifest(out) == good
    assert not [name for name in built_folders(out) if name.startswith(".scratch")]
    assert build([CORE, PAIR], out, sources).reused  # what could be built was not in vain


def test_an_exact_composite_that_is_off_is_no_composite(
    sources: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = folders.compose

    def slightly_off(*args: object, **options: object) -> Composite:
        return replace(real(*args, **options), error=1e-3)  # type: ignore[arg-type] # passed on as they came

    monkeypatch.setattr(folders, "compose", slightly_off)
    with pytest.raises(BuildRefused, match=r"differs from the sum of its members by 1\.0e-03"):
        build([PAIR], out, sources, jobs=1)
    assert built_folders(out) == set()
    assert not (out / FILE).exists()


def test_no_space_is_nobodys_fault_and_leaves_nothing(
    sources: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = build([CORE], out, sources).manifest

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        build([CORE, PAIR], out, sources, jobs=1)
    monkeypatch.undo()
    assert read_manifest(out) == good
    assert built_folders(out) == {entry.served for entry in good.entries}


def test_two_builds_do_not_write_into_one_folder(sources: Path, out: Path) -> None:
    def inside(done: int, total: int, what: str) -> None:
        with pytest.raises(BuildBusy, match="another build is writing"):
            build([CORE], out, sources)
        inside.ran = True  # type: ignore[attr-defined] # so that the test cannot pass by not calling it

    build([PAIR], out, sources, progress=inside)
    assert inside.ran  # type: ignore[attr-defined]


def test_a_tree_can_be_moved_as_a_whole(sources: Path, tmp_path: Path) -> None:
    build([CORE], tmp_path / "deep" / "built", sources)
    manifest = read_manifest(tmp_path / "deep" / "built")
    assert manifest.sources == "../../sources"


def test_nothing_to_build_is_an_empty_manifest(sources: Path, out: Path) -> None:
    assert build([], out, sources).manifest == Manifest((), "../sources")


@pytest.mark.parametrize(
    ("said", "cores_of_it"),
    [("150000 100000", 1), ("10000 100000", 1), ("9900000 100000", 99), ("max 100000", 99)],
)
def test_a_container_s_share_of_the_cores_is_the_limit(tmp_path: Path, said: str, cores_of_it: int) -> None:
    (tmp_path / "cpu.max").write_text(said)
    assert cores(tmp_path / "cpu.max") == min(cores_of_it, cores(tmp_path / "none"))


# --- the gate


@dataclass(frozen=True)
class Figure:
    worst: float

    def __str__(self) -> str:
        return f"physics loses {self.worst:.0%} when the core joins"


GATED = spec(("core", 1.0), ("physics", 0.8), refuse_conflict_above=0.1)


def test_a_conflict_above_the_gate_is_refused_with_the_figures(sources: Path, out: Path) -> None:
    with pytest.raises(BuildRefused) as raised:
        build([CORE, GATED], out, sources, conflict_of=lambda spec: Figure(0.34))
    ((blend, reason),) = raised.value.problems
    assert blend == "core x 1 + physics x 0.8 (core+physics-policyid)"
    assert reason == "the conflict is 0.34, the policy refuses above 0.1: physics loses 34% when the core joins"
    assert {name.partition("-")[0] for name in built_folders(out)} == {"core"}  # refused before it is composed


def test_what_passes_is_built_and_its_figure_kept(sources: Path, out: Path) -> None:
    asked: list[Spec] = []

    def measure(spec: Spec) -> Figure:
        asked.append(spec)
        return Figure(0.03)

    gated_single = replace(CORE, refuse_conflict_above=0.1)
    built = build([gated_single, GATED], out, sources, conflict_of=measure)
    assert asked == [GATED]  # one adapter alone has no conflict
    assert {entry.blend: entry.conflict for entry in built.manifest.entries} == {CORE.id: None, GATED.id: 0.03}
    again = build([gated_single, GATED], out, sources, conflict_of=measure)
    assert again.manifest == built.manifest
    assert asked == [GATED]  # measuring takes long; the same content has the same figure


def test_a_stricter_gate_over_a_built_blend_is_held(sources: Path, out: Path) -> None:
    build([GATED], out, sources, conflict_of=lambda spec: Figure(0.08))
    with pytest.raises(BuildRefused, match=r"0\.08, the policy refuses above 0\.05: physics loses 8%"):
        build([replace(GATED, refuse_conflict_above=0.05)], out, sources, conflict_of=lambda spec: Figure(0.08))


def test_a_figure_of_exactly_the_gate_passes(sources: Path, out: Path) -> None:
    assert build([GATED], out, sources, conflict_of=lambda spec: Figure(0.1)).manifest.entries


@pytest.mark.parametrize("measure", [None, lambda spec: None])
def test_a_gate_that_cannot_be_measured_lets_nothing_pass(
    sources: Path, out: Path, measure: Callable[[Spec], None] | None
) -> None:
    with pytest.raises(BuildRefused, match="there is nothing to measure them with"):
        build([GATED], out, sources, conflict_of=measure)


def test_a_measurement_that_fails_lets_nothing_pass(sources: Path, out: Path) -> None:
    def broken(spec: Spec) -> Figure:
        raise ValueError("heldout.jsonl:3 has no answer")

    with pytest.raises(BuildRefused, match=r"measuring failed: heldout\.jsonl:3 has no answer"):
        build([GATED], out, sources, conflict_of=broken)


def test_a_gate_of_one_tenant_does_not_bind_another(sources: Path, out: Path) -> None:
    """Two policies may reach one blend, one of them with a gate: refused there, the build says so."""
    open_one = replace(PAIR, id="open-id")
    with pytest.raises(BuildRefused) as raised:
        build([GATED, open_one], out, sources, conflict_of=lambda spec: Figure(0.5))
    assert [blend for blend, _ in raised.value.problems] == ["core x 1 + physics x 0.8 (core+physics-policyid)"]
    assert len(built_folders(out)) == 1


def test_the_sum_itself(sources: Path, out: Path) -> None:
    """By hand, without our own prover: the composite's product is 1.0 * 2 * core + 0.8 * 2 * physics."""
    (entry,) = build([PAIR], out, sources).manifest.entries
    stem = "base_model.model.model.layers.1.self_attn.q_proj.lora_{}.weight"
    made, core, physics = (
        load_file(folder / WEIGHTS) for folder in (out / entry.served, sources / "core", sources / "physics")
    )

    def product(tensors: dict[str, np.ndarray]) -> np.ndarray:
        return tensors[stem.format("B")].astype(np.float64) @ tensors[stem.format("A")].astype(np.float64)

    wanted = 1.0 * 2 * product(core) + 0.8 * 2 * product(physics)
    np.testing.assert_allclose(product(made), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
