"""Vectors are made once, and stored without their texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.quality.data import OTHERS, family, groups
from bench.quality.vectors import Kept
from tests.quality import toy


def test_a_text_is_encoded_once_even_in_the_next_run(tmp_path: Path) -> None:
    texts = ["one text", "two texts", "one text"]
    first = toy.Words()
    kept = Kept(first, tmp_path)
    kept.prepare(texts, toy.silent)
    assert first.asked == 2
    second = toy.Words()
    again = Kept(second, tmp_path)
    again.prepare(texts, toy.silent)
    np.testing.assert_array_equal(again.encode(texts), toy.Words().encode(texts))
    assert second.asked == 0
    assert b"texts" not in kept.file.read_bytes()


def test_sources_of_a_family_are_held_out_together() -> None:
    assert family("OpenTriviaQA/music") == "OpenTriviaQA"
    assert family("HWU64 machine-translated to Russian (encodechka)") == family("HWU64 (NLU-Evaluation-Data)")
    families = ["large"] * 600 + ["larger"] * 700 + ["a"] * 3 + ["b"]
    assert [(name, sorted(members)) for name, members in groups(families)] == [
        ("larger", ["larger"]),
        ("large", ["large"]),
        (OTHERS, ["a", "b"]),
    ]
