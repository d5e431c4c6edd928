"""Blend: content-addressed, sorted, never empty, never a mixed isolation."""

from __future__ import annotations

import hashlib

import pytest

from router.core.blend import Blend, written

SOURCES = {"core": "./core", "physics": "./physics"}


def test_the_id_is_the_hash_of_base_names_weights_and_sources() -> None:
    content = '["org/model", [["core", "1.0", "./core"], ["physics", "0.8", "./physics"]]]'
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    assert Blend.of("org/model", {"physics": 0.8, "core": 1}, SOURCES).id == f"core+physics-{digest}"


@pytest.mark.parametrize(
    ("base", "weights", "sources"),
    [
        ("org/other", {"core": 1.0}, SOURCES),
        ("org/model", {"core": 0.9}, SOURCES),
        ("org/model", {"core": 1.0}, {"core": "./core-2"}),
        ("org/model", {"core": 1.0, "physics": 1.0}, SOURCES),
    ],
)
def test_whatever_changes_the_sum_changes_the_id(
    base: str, weights: dict[str, float], sources: dict[str, str]
) -> None:
    assert Blend.of(base, weights, sources).id != Blend.of("org/model", {"core": 1.0}, SOURCES).id


def test_order_does_not_matter_and_members_are_sorted() -> None:
    one = Blend.of("m", {"physics": 0.8, "core": 1.0}, SOURCES)
    assert one == Blend.of("m", {"core": 1.0, "physics": 0.8}, SOURCES)
    assert one.members == (("core", 1.0), ("physics", 0.8))
    assert str(one) == "core=1.0,physics=0.8"


def test_an_id_holds_nothing_that_tgi_or_sglang_split_on() -> None:
    """TGI splits LORA_ADAPTERS items on , = @ and SGLang its model names on : ."""
    blend = Blend.of("m", {"core": 1.0, "a_b-c": 0.5}, {"core": "x=y", "a_b-c": "a@b"})
    assert not set(blend.id) & set(",=@:")


def test_no_adapter_is_no_blend() -> None:
    with pytest.raises(ValueError, match="bare base model"):
        Blend.of("m", {}, {})


def test_an_isolated_blend_has_one_member() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Blend.of("m", {"core": 1.0, "physics": 0.8}, SOURCES, alone=True)


@pytest.mark.parametrize(
    ("weight", "text"), [(1, "1.0"), (0.8, "0.8"), (-0.25, "-0.25"), (0.1 + 0.2, "0.30000000000000004")]
)
def test_weights_are_written_so_that_they_read_back(weight: float, text: str) -> None:
    assert written(weight) == text


def test_a_lossy_method_is_another_blend_and_exact_is_the_one_without() -> None:
    weights = {"core": 1.0, "physics": 0.8}
    exact = Blend.of("org/model", weights, SOURCES)
    assert Blend.of("org/model", weights, SOURCES, method="exact") == exact
    content = '["org/model", [["core", "1.0", "./core"], ["physics", "0.8", "./physics"]], "svd(rank=16)"]'
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    assert Blend.of("org/model", weights, SOURCES, method="svd(rank=16)").id == f"core+physics-{digest}"
    assert Blend.of("org/model", weights, SOURCES, method="svd(rank=8)").id not in (
        exact.id,
        f"core+physics-{digest}",
    )


def test_one_adapter_is_exact_whatever_the_method() -> None:
    one = Blend.of("org/model", {"core": 1.0}, SOURCES)
    assert Blend.of("org/model", {"core": 1.0}, SOURCES, method="svd(rank=16)") == one
