"""Files and stored values that somebody may have written by hand, damaged or forged: read, or refused by name,
in bounded time and memory: policy, keys, cases, exemplars, artefacts, outcomes, cached and logged decisions.
"""

from __future__ import annotations

import asyncio
import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers import Classifier, ClassifierError
from classifiers.artefact import EXEMPLARS, HEAD, HELD_OUT, MANIFEST, VECTORS, calibration_in, held_out_in, load
from classifiers.rows import RowError, read_exemplars, read_row
from router.caches.memory import MemoryCache
from router.core.conversation import Conversation, Message
from router.core.decide import decide
from router.core.decision import Decision
from router.core.errors import PolicyInvalid
from router.core.key import seal, unseal
from router.core.recorded import Unreadable, read_fields
from router.core.scores import Scores
from router.decision_log import DecisionLog
from router.keys_file import Keys, load_keys
from router.outcomes.record import read_outcome, written
from router.policy_cases import load_cases
from router.policy_file import load_policies, resolve
from router.service import Ask
from router.shapes import MOST
from router.yaml_text import MAX_BYTES, Written, parse_yaml
from tests.classifiers.conftest import classifier, encoder  # noqa: F401 - fixtures
from tests.fuzz.values import DEEP, JSON, near
from tests.stage import SECRET, staged
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


OUTCOME = {
    "decision_id": "dec_0", "verdict": "right", "decided": "physics", "tenant": "default", "at": 1.5,
    "role": None, "label": None, "text": "sky", "channel": "api", "scored": True,
}  # fmt: skip


@pytest.mark.parametrize("at", ["NaN", "1e999", "-1", "1" * 400, "true", '"1"', "null"])
def test_an_outcome_of_no_time_is_refused(at: str) -> None:
    with pytest.raises(ValueError, match="at is"):
        read_outcome(json.dumps({**OUTCOME, "at": "@"}).replace('"@"', at).encode())


@given((near(OUTCOME) | JSON).map(json.dumps).map(str.encode) | st.binary(max_size=60) | LINES.map(str.encode))
def test_any_line_is_an_outcome_or_refused(line: bytes) -> None:
    try:
        outcome = read_outcome(line)
    except ValueError as refused:
        assert "sky" not in str(refused)  # noqa: PT017 - it may hold a prompt
        return
    assert b"\n" not in written(outcome)
    assert read_outcome(written(outcome)) == outcome
    assert math.isfinite(outcome.at)


TAKEN = decide(POLICIES.profile("default", None), Scores({"physics": 0.6, "sport": 0.3}), None)


@given((near(json.loads(TAKEN.to_json())) | JSON).map(json.dumps) | LINES)
def test_any_text_is_a_decision_or_refused(text: str) -> None:
    try:
        Decision.from_json(text)
    except ValueError as refused:
        assert "not a decision" in str(refused)  # noqa: PT017 - most are refused, by one name


@given(st.binary(max_size=80), st.integers(0, 400), st.integers(0, 7))
def test_nothing_but_what_was_sealed_comes_out_of_the_cache(raw: bytes, at: int, bit: int) -> None:
    key, value = b"k" * 32, TAKEN.to_json().encode()
    flipped = bytearray(seal(SECRET, key, value))
    flipped[at % len(flipped)] ^= 1 << bit
    for forged in (raw, raw + value, bytes(flipped), seal(SECRET, b"K" * 32, value), seal(b"x" * 32, key, value)):
        with pytest.raises(ValueError, match="not ours"):
            unseal(SECRET, key, forged)


class Garbage(MemoryCache):
    """Says for every key what it was told to."""

    said = b""

    async def get_many(self, keys: Any) -> list[bytes | None]:
        return [self.said for _ in keys]


async def test_a_forged_cache_decides_nothing(tmp_path: Path) -> None:
    cache = Garbage()
    ask = Ask(Conversation((Message("user", "режим: академический\nwhy is the sky blue"),)))
    async with staged(tmp_path, cache=cache) as stage:

        @given(
            st.binary(max_size=60) | near(json.loads(TAKEN.to_json())).map(lambda said: json.dumps(said).encode())
        )
        def forge(said: bytes) -> None:
            cache.said = said
            routed = asyncio.run_coroutine_threadsafe(stage.router.decide(ask), loop).result(60)
            assert routed.cache == "miss"
            assert routed.decision.blend.weights == {"academic": 1.0}

        loop = asyncio.get_running_loop()
        await asyncio.to_thread(forge)


LOGGED = {
    "fact": "Decided", "id": "dec_0", "tenant": "default", "role": None, "label": "physics",
    "scores": {"physics": 0.6, "sport": 0.3}, "out_of_domain": False, "asked": None, "adapters": {"core": 1.0},
    "blend": "core-0", "alone": False, "reason": "scored", "policy": "p", "classifier": "c",
}  # fmt: skip


@given(near(LOGGED), (near(LOGGED) | JSON).map(json.dumps).map(str.encode) | st.binary(max_size=60))
def test_any_line_of_a_log_is_a_decision_or_unreadable(folder: Path, fields: Any, line: bytes) -> None:
    if isinstance(fields, dict):
        try:
            read_fields(fields)
        except Unreadable as refused:
            assert str(refused)  # noqa: PT017 - most are refused, and each says why
    (folder / "log").write_bytes(line)
    log = DecisionLog()
    assert len(list(log.read([folder / "log"]))) == log.decisions


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", DEEP, b'{"a":' * 50_000, b"[]", b'{"format": 4}', b'{"format": [4]}']
)
def test_unreadable_artefacts_are_refused(folder: Path, raw: bytes) -> None:
    (folder / MANIFEST).write_bytes(raw)
    with pytest.raises(ClassifierError, match="agoge classifier train"):
        load(folder)
    assert calibration_in(folder) is None
    assert held_out_in(folder) == "topics"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([EXEMPLARS, HEAD, HELD_OUT, MANIFEST, VECTORS]), st.data())
def test_any_byte_of_an_artefact_may_be_wrong(
    classifier: Classifier,  # noqa: F811 - a fixture
    tmp_path: Path,
    name: str,
    data: st.DataObject,
) -> None:
    artefact = tmp_path / "artefact"
    if not artefact.exists():
        classifier.save(artefact)
    sound = (artefact / name).read_bytes()
    wrong = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        wrong[data.draw(st.integers(0, min(200, len(wrong) - 1)))] = data.draw(st.integers(0, 255))
    (artefact / name).write_bytes(wrong)
    try:
        load(artefact, classifier.encoder)
    except ClassifierError as refused:
        assert "classifier" in str(refused)  # noqa: PT017 - most are refused; a weight may differ a little
    finally:
        (artefact / name).write_bytes(sound)


@pytest.mark.parametrize(
    "shape", ["(999999999999, 999999)", "(-1, 3)", "(3,", "__import__('os')", "(2**70,)", "()"]
)
def test_an_array_that_lies_about_its_size_is_refused(
    classifier: Classifier,  # noqa: F811 - a fixture
    tmp_path: Path,
    shape: str,
) -> None:
    classifier.save(tmp_path / "artefact")
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    raw = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\x00" * 64
    (tmp_path / "artefact" / HEAD).write_bytes(raw)
    with pytest.raises(ClassifierError, match="damaged"):
        load(tmp_path / "artefact", classifier.encoder)
