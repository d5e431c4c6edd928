"""Files that somebody may have written by hand, well or badly: read, or refused by name,
in bounded time and memory: policies, keys, cases and exemplars.
"""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from classifiers.rows import RowError, read_exemplars, read_row
from router.core.decide import decide
from router.core.errors import PolicyInvalid
from router.core.scores import Scores
from router.keys_file import Keys, load_keys
from router.policy_cases import load_cases
from router.policy_file import load_policies, resolve
from router.shapes import MOST
from router.yaml_text import MAX_BYTES, Written, parse_yaml
from tests.classifiers.conftest import classifier, encoder  # noqa: F401 - fixtures
from tests.fuzz.values import DEEP, JSON, near
from tests.stubs import KEYS, TENANTS

DOCUMENT = yaml.safe_load(TENANTS)
DOCUMENT["tenants"]["clinic"]["roles"] = {"editor": {"otherwise": ["sport"]}, "guest": {"may_ask": []}}
DOCUMENT["adapters"]["academic"]["alone"] = True
RING = yaml.safe_load(KEYS)
POLICIES = resolve(Written(DOCUMENT, "generated"))
SECRET_KEY = "sk-plain"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "nothing": b"",
    "a bomb of anchors": BOMB.encode(),
    "a bomb of merges": b"a: &a {x: 1}\n" + b"".join(b"b%d: &b%d {<<: [*a, *a]}\n" % (n, n) for n in range(600)),
    "an anchor in itself": b"a: &a [*a]",
    "a merge of itself": b"a: &a {<<: *a}",
    "deep lists": b"[" * 4000,
    "deep mappings": b"{a: " * 4000,
    "deep blocks": b"\n".join(b" " * n + b"a:" for n in range(900)),
    "deep dashes": b"- " * 4000,
    "a huge number": b"version: " + b"9" * 100_000,
    "a huge number of parts": b"version: 1" + b":59" * 100_000,
    "a huge float": b"version: 1e999999999",
    "a huge exponent": b"version: " + b"1" * 5000 + b"e" + b"1" * 5000,
    "octal and hex": b"version: 0o17\nbase: 0x7fffffffffffffffffff",
    "one key twice": b"version: 1\nversion: 1",
    "a tag that runs code": b"!!python/object/apply:os.system ['false']",
    "a tag of a module": b"base: !!python/name:os.system",
    "a binary": b"base: !!binary aGVsbG8=",
    "a set": b"base: !!set {a, b}",
    "no UTF-8": b"base: \xff\xfe",
    "UTF-16": "version: 1".encode("utf-16"),
    "UTF-32": "version: 1".encode("utf-32"),
    "NUL": b"base: \x00",
    "controls": b"base: \x07\x1b",
    "half a pair": b'base: "\\ud800"',
    "a half in a name": b'adapters: {"\\ud800": {from: x, when: always}}',
    "escapes beyond Unicode": b'base: "\\UFFFFFFFF"',
    "a long text": b"base: " + b"x" * 100_000,
    "a long key": b"x" * 100_000 + b": 1",
    "a long name": b"adapters: {" + b"x" * 100_000 + b": {from: x, when: always}}",
    "too long": b"#" * (MAX_BYTES + 1),
    "many documents": b"---\n" * 10_000,
    "directives": b"%YAML 9.9\n---\nversion: 1",
    "an endless quotation": b'base: "' + b"x" * 10_000,
    "an endless comment": b"#" * 100_000,
    "many keys": b"\n".join(b"k%d: 1" % n for n in range(1500)),
    "complex keys": b"? [a, b]\n: 1\n? {c: d}\n: 2",
    "a list": b"[]",
    "a text": b"hello",
    "null": b"null",
    "tabs": b"a:\n\t- b",
    "many anchors": b"".join(b"a%d: &a%d x\n" % (n, n) for n in range(1500)),
    "four hundred adapters": b"version: 1\nbase: b\ncompose: {at_most: 400}\nbackends: [x]\nadapters:\n"
    + b"".join(b"  a%d: {from: x, when: {label: l%d, at_least: 0.001}}\n" % (n, n) for n in range(400)),
    "three thousand adapters": b"version: 1\nbase: b\ncompose: {at_most: 3000}\nbackends: [x]\nadapters:\n"
    + b"".join(b"  a%d: {from: x, when: asked}\n" % n for n in range(3000)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.timeout(120)  # the slowest takes a second
def test_hostile_yaml_is_refused(folder: Path, raw: bytes) -> None:
    file = folder / "hostile.yaml"
    file.write_bytes(raw)
    readers = (load_policies, lambda path: load_keys(path, POLICIES), lambda path: load_cases(path, POLICIES))
    for read in readers if len(raw) < 2000 else readers[:1]:
        with pytest.raises(PolicyInvalid) as refused:
            read(file)
        assert str(file) in str(refused.value)
        assert len(refused.value.problems) < 4 * MOST
        assert all(problem.wrong and problem.right for problem in refused.value.problems)
        str(refused.value).encode()  # it can be printed


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.startswith("a bomb")])
def test_a_bomb_fills_no_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PolicyInvalid):
            resolve(parse_yaml(HOSTILE[name], "bomb"))
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 200 * 2**20


@given(near(DOCUMENT))
def test_any_document_is_policies_or_refused(document: Any) -> None:
    try:
        policies = resolve(parse_yaml(json.dumps(document).encode(), "generated"))  # JSON is YAML
    except PolicyInvalid as refused:
        assert refused.problems  # noqa: PT017 - most are refused, and each says why
        return
    for profile in policies.profiles.values():
        assert all(math.isfinite(adapter.weight) and adapter.weight for adapter in profile.adapters)
        decide(profile, Scores({"physics": 0.6, "sport": 0.3}), None)


TEXT = st.text(st.characters(codec="utf-8"), max_size=60) | st.text("{}[]&*!|>%@`'\"#:-?,\n \t~<x1.", max_size=40)


@given(TEXT.map(str.encode) | st.binary(max_size=60), st.integers(0, len(TENANTS)), st.integers(0, 40))
def test_any_text_is_policies_or_refused(more: bytes, at: int, gone: int) -> None:
    raw = TENANTS.encode()
    try:
        resolve(parse_yaml(raw[:at] + more + raw[at + gone :], "generated"))
    except PolicyInvalid as refused:
        assert refused.problems  # noqa: PT017 - most are refused, and each says why


@given(TEXT.map(str.encode) | st.binary(max_size=30), st.integers(0, len(KEYS)), st.integers(0, 20))
def test_any_keys_file_is_keys_or_refused_and_shows_no_key(folder: Path, more: bytes, at: int, gone: int) -> None:
    file, raw = folder / "keys.yaml", KEYS.encode()
    file.write_bytes(raw[:at] + more + raw[at + gone :])
    try:
        assert isinstance(load_keys(file, POLICIES), Keys)
    except PolicyInvalid as refused:
        assert "sk-plain" not in str(refused)  # noqa: PT017 - what is refused must not show it


@given(near(RING), near([{"name": "n", "scores": {"physics": 0.7}, "asked": ["core"], "expect": {"error": "x"}}]))
def test_any_ring_and_any_cases_are_read_or_refused(folder: Path, ring: Any, cases: Any) -> None:
    for name, value in (("keys.yaml", ring), ("x.cases.yaml", cases)):
        (folder / name).write_text(json.dumps(value))  # JSON is YAML
        try:
            load_keys(folder / name, POLICIES) if name == "keys.yaml" else load_cases(folder / name, POLICIES)
        except PolicyInvalid as refused:
            assert "sk-plain" not in str(refused) or name != "keys.yaml"  # noqa: PT017


ROW = {"text": "Why is the sky blue?", "label": "physics", "lang": "en", "more": 1}
LINES = st.sampled_from(
    [DEEP.decode(), '{"text": ' + "9" * 5000 + "}", "", "null", '{"text": "\\ud800"}', "\x00", "{"]
)


@given((near(ROW) | JSON).map(json.dumps) | LINES | TEXT)
def test_any_line_is_an_exemplar_or_refused(line: str) -> None:
    try:
        row = read_row(line, "file:1")
    except RowError as refused:
        assert "file:1" in str(refused)  # noqa: PT017 - most are refused, and each says where
        return
    assert row.text.strip()
    assert row.label.strip()


@given(st.binary(max_size=200))
def test_any_folder_of_exemplars_is_read_or_refused(folder: Path, raw: bytes) -> None:
    (folder / "exemplars").mkdir(exist_ok=True)
    (folder / "exemplars" / "some.jsonl").write_bytes(raw)
    with pytest.raises(RowError):
        read_exemplars(folder / "exemplars")
