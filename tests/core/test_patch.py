"""merge_patch against every row of RFC 7396, appendix A."""

from __future__ import annotations

import copy
import json

import pytest

from router.core.patch import merge_patch, removals_of_nothing

APPENDIX_A = [
    # original, patch, result
    ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
    ('{"a":"b"}', '{"a":null}', "{}"),
    ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
    ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
    ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
    ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
    ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
    ('["a","b"]', '["c","d"]', '["c","d"]'),
    ('{"a":"b"}', '["c"]', '["c"]'),
    ('{"a":"foo"}', "null", "null"),
    ('{"a":"foo"}', '"bar"', '"bar"'),
    ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
    ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
    ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
]


@pytest.mark.parametrize(("original", "patch", "result"), APPENDIX_A)
def test_appendix_a(original: str, patch: str, result: str) -> None:
    assert merge_patch(json.loads(original), json.loads(patch)) == json.loads(result)


@pytest.mark.parametrize(("original", "patch", "result"), APPENDIX_A)
def test_neither_document_is_changed(original: str, patch: str, result: str) -> None:
    target, change = json.loads(original), json.loads(patch)
    before = copy.deepcopy((target, change))
    merge_patch(target, change)
    assert (target, change) == before


def test_removals_of_nothing_are_found_at_any_depth() -> None:
    target = {"a": {"b": 1}, "c": 2}
    patch = {"a": {"b": None, "x": None}, "c": None, "d": {"e": None}, "f": None}
    assert removals_of_nothing(target, patch) == [("a", "x"), ("d", "e"), ("f",)]
