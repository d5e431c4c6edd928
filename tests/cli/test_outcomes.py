"""`agoge outcomes`: which outcomes become exemplars, which do not and why, and the counts."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from classifiers import Row, read_rows
from router.cli.main import command
from router.cli.outcomes_rows import REASONS, choose
from router.core.outcome import Outcome
from router.outcomes.redis import RedisOutcomes
from tests.caches.servers import Server
from tests.classifiers.material import write_rows
from tests.outcomes.conftest import Start, start

__all__ = ["start"]

KNOWN = [
    Row("physics", "en", "what is entropy"),
    Row("sport", "en", "who won the match"),
    Row("cooking", "en", "x"),
]


def right(text: str | None, decided: str | None = "physics", **more: Any) -> Outcome:
    return Outcome("dec_1", "right", decided, "default", 1.0, text=text, **more)


def wrong(text: str | None, label: str | None = None, decided: str | None = "physics", **more: Any) -> Outcome:
    return Outcome("dec_1", "wrong", decided, "default", 1.0, label=label, text=text, **more)


def test_a_right_one_has_the_decided_label_and_a_wrong_one_the_named_and_the_script_its_language() -> None:
    chosen = choose(
        [right(" почему небо голубое? "), wrong("marathon plan", "sport"), wrong("яйца", "cooking", None)], KNOWN
    )
    assert chosen.rows == (
        Row("physics", "ru", "почему небо голубое?"),
        Row("sport", "en", "marathon plan"),
        Row("cooking", "ru", "яйца"),
    )
    assert not chosen.left_out
    assert chosen.contradictions == ()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (right(None), "no_text"),
        (wrong(None, "sport"), "no_text"),
        (wrong("a text"), "no_label"),
        (right("a text", None), "nothing_decided"),
        (right("а подробнее?", scored=False), "not_scored"),
        (wrong("mode: physics, a text", "sport", scored=False), "not_scored"),
        (right("what is  ENTROPY"), "known"),
        (right("who won the match"), "known_otherwise"),
        (right("a text", "astrology"), "unknown_label"),
        (right("?!"), "no_words"),
        (right("x" * 2001), "too_long"),
        (right("空は青い"), "no_language"),
        (right("half \ud83d"), "broken"),
    ],
)
def test_what_is_left_out_says_why(outcome: Outcome, reason: str) -> None:
    chosen = choose([outcome, right("why is the sea blue")], KNOWN)
    assert chosen.rows == (Row("physics", "en", "why is the sea blue"),)
    assert dict(chosen.left_out) == {reason: 1}
    assert reason in REASONS


def test_the_same_text_counts_once_whatever_its_case_and_spaces() -> None:
    chosen = choose([right("Why is the sky blue"), right("why  is the SKY blue"), wrong("other", "sport")], KNOWN)
    assert [row.text for row in chosen.rows] == ["Why is the sky blue", "other"]
    assert dict(chosen.left_out) == {"repeated": 1}


@pytest.mark.parametrize(
    "second",
    [
        wrong("THE sky ", "sport"),  # two labels
        wrong("the sky"),  # right, and wrong without saying what instead
        right("the sky", "cooking"),
    ],
)
@pytest.mark.parametrize("which", ["all", "right", "wrong"])
def test_people_who_disagree_are_listed_and_nobody_wins(second: Outcome, which: Any) -> None:
    said = [right("the sky"), right("the sky"), second]
    for order in (said, said[::-1]):
        chosen = choose(order, KNOWN, which)
        assert chosen.rows == ()
        (disputed,) = chosen.contradictions
        assert disputed.right["physics"] == 2
        assert sum(chosen.left_out.values()) == 3


def test_two_who_name_the_same_label_agree_whatever_was_decided() -> None:
    chosen = choose(
        [wrong("the sky", "sport", "physics"), wrong("the sky", "sport", "cooking"), wrong("the sky")], KNOWN
    )
    assert chosen.contradictions == ()
    assert chosen.rows == (Row("sport", "en", "the sky"),)


def test_a_closed_gate_with_the_right_label_is_no_contradiction() -> None:
    """Wrong, although the label was right: its gate did not open. That very text is worth learning."""
    chosen = choose([wrong("the sky", "physics", "physics"), right("the sky", "physics")], KNOWN)
    assert (chosen.rows, chosen.contradictions) == ((Row("physics", "en", "the sky"),), ())


def test_one_verdict_alone_may_be_learned_from() -> None:
    said = [right("the sky"), wrong("the sea", "sport")]
    assert [row.text for row in choose(said, KNOWN, "wrong").rows] == ["the sea"]
    assert dict(choose(said, KNOWN, "wrong").left_out) == {"other_verdict": 1}
    assert [row.text for row in choose(said, KNOWN, "right").rows] == ["the sky"]


SAID = [
    right("почему небо голубое?"),
    right("почему небо голубое?"),
    wrong("marathon plan", "sport"),
    wrong("a marker", "sport"),
    right("a marker"),
    wrong(None),
    right(None, None),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with exemplars, outcomes in the default place, and a torn last line."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "policies" / "exemplars" / "all.jsonl", KNOWN)
    (tmp_path / ".agoge").mkdir()
    lines = "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in SAID)
    (tmp_path / ".agoge" / "outcomes.jsonl").write_text(lines + '{"decision_id": "dec_9', "utf-8")
    return tmp_path


def agoge(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["outcomes", *arguments])


def test_lines_go_to_standard_output_and_everything_else_to_standard_error(folder: Path) -> None:
    done = agoge("export")
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        '{"text": "почему небо голубое?", "label": "physics", "lang": "ru"}\n'
        '{"text": "marathon plan", "label": "sport", "lang": "en"}\n'
    )
    assert done.stderr.splitlines() == [
        ".agoge/outcomes.jsonl:8: skipped: not JSON; the last line, torn by a crash or still being written",
        "disputed: 'a marker': sport is right (1), physics is right (1), physics is wrong (1)",
        "2 exemplars from 7 outcomes",
        "       2  people disagree",
        "       2  no text was sent along",
        "       1  said before",
    ]


def test_the_file_is_what_the_classifier_reads_and_is_never_written_over(folder: Path) -> None:
    done = agoge("export", "--out", "new.jsonl", "--verdict", "wrong")
    assert (done.exit_code, done.stdout) == (0, "")
    assert read_rows(folder / "new.jsonl") == [Row("sport", "en", "marathon plan")]
    assert "1 exemplar in new.jsonl from 7 outcomes" in done.stderr
    again = agoge("export", "--out", "new.jsonl")
    assert again.exit_code == 1
    assert "new.jsonl is there already" in again.stderr
    assert read_rows(folder / "new.jsonl") == [Row("sport", "en", "marathon plan")]


def test_json_has_everything(folder: Path) -> None:
    told = json.loads(agoge("export", "--json").stdout)
    assert told == {
        "outcomes": 7,
        "damaged": 1,
        "exemplars": [
            {"text": "почему небо голубое?", "label": "physics", "lang": "ru"},
            {"text": "marathon plan", "label": "sport", "lang": "en"},
        ],
        "left_out": {"repeated": 1, "contradicted": 2, "no_text": 2},
        "contradictions": [{"text": "a marker", "right": {"sport": 1, "physics": 1}, "wrong": {"physics": 1}}],
    }


def test_show_counts_by_label_and_verdict(folder: Path) -> None:
    told = json.loads(agoge("show", "--json").stdout)
    assert (told["outcomes"], told["damaged"]) == (7, 1)
    assert told["labels"] == [
        {"label": "physics", "right": 3, "wrong": 3, "missed": 0},
        {"label": "sport", "right": 0, "wrong": 0, "missed": 2},
        {"label": None, "right": 1, "wrong": 0, "missed": 0},
    ]
    shown = [line.split() for line in agoge("show").stdout.splitlines()]
    assert ["physics", "3", "3", "0"] in shown
    assert ["sport", "0", "0", "2"] in shown
    assert ["none", "1", "0", "0"] in shown


@pytest.mark.parametrize("verb", ["show", "export"])
@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("nowhere.jsonl", 1, "there is no nowhere.jsonl"),
        ("policies", 1, "Is a directory"),
        ("none:", 2, "keeps nothing"),
        ("http://h", 2, "redis://host:6379/0"),
        ("redis://127.0.0.1:1/0", 1, "127.0.0.1:1"),
        ("redis://:hunter2@127.0.0.1:1/0", 2, "AGOGE_REDIS_PASSWORD"),
    ],
)
def test_what_cannot_be_read_says_so(folder: Path, verb: str, source: str, code: int, says: str) -> None:
    done = agoge(verb, "--from", source)
    assert done.exit_code == code
    assert says in done.stderr
    assert "hunter2" not in done.output
    assert "Traceback" not in done.output


async def test_a_redis_stream_is_read_too(folder: Path, start: Start) -> None:
    server: Server = start("--appendonly", "yes")
    store = RedisOutcomes(server.tcp_url)
    for number, each in enumerate(SAID):
        await store.add(replace(each, decision_id=f"dec_{number}"))
    await store.aclose()
    import asyncio

    done = await asyncio.to_thread(agoge, "export", "--from", server.tcp_url, "--json")
    assert [each["text"] for each in json.loads(done.stdout)["exemplars"]] == [
        "почему небо голубое?",
        "marathon plan",
    ]
