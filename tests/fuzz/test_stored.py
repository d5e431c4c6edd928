"""Values that were stored and come back damaged or forged: outcomes, cached and logged decisions, artefacts."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifiers import Classifier, ClassifierError
from classifiers.artefact import CODES, EXEMPLARS, HEAD, HELD_OUT, MANIFEST, calibration_in, held_out_in, load
from router.caches.memory import MemoryCache
from router.core.conversation import Conversation, Message
from router.core.decide import decide
from router.core.decision import Decision
from router.core.key import seal, unseal
from router.core.recorded import Unreadable, read_fields
from router.core.scores import Scores
from router.decision_log import DecisionLog
from router.outcomes.record import read_outcome, written
from router.policy_file import resolve
from router.service import Ask
from router.yaml_text import parse_yaml
from tests.classifiers.conftest import classifier, encoder  # noqa: F401 - fixtures
from tests.fuzz.values import DEEP, JSON, near
from tests.stage import SECRET, staged
from tests.stubs import TENANTS

POLICIES = resolve(parse_yaml(TENANTS.encode(), "policy"))
LINES = st.sampled_from([DEEP.decode(), "9" * 5000, "", "null", '{"text": "\\ud800"}', "\x00", "{"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stored")


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
@given(st.sampled_from([EXEMPLARS, HEAD, HELD_OUT, MANIFEST, CODES]), st.data())
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
