"""`agoge ask`, `agoge chat` and feedback on the whole of Agoge: the real encoder, the real LLM, real adapters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx

from tests.e2e.conftest import ROOT


def run(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "router.cli", *words]
    return subprocess.run(command, cwd=ROOT, input=typed, capture_output=True, text=True, timeout=280, check=False)


def test_ask_says_who_spoke_and_why(agoge: str) -> None:
    # a question of its own: a decision out of the cache tells no exemplars
    done = run("ask", "Why does a prism split white light?", "--why", "--max-tokens", "8", "--url", agoge)
    assert done.returncode == 0, done.stderr
    answer, _, why = done.stdout.partition("\nlabel     physics")
    assert answer.strip()
    assert "adapters  core x 1.0, physics x 0.8" in why
    assert "nearest" in why


def test_chat_switches_speakers(agoge: str) -> None:
    typed = "Как подготовиться к марафону?\n/mode academic\nExplain social media.\n/quit\n"
    done = run("chat", "--max-tokens", "8", "--url", agoge, typed=typed)
    assert done.returncode == 0, done.stderr
    spoke = [line for line in done.stdout.splitlines() if line.startswith("[") and line.endswith("]")]
    assert spoke[0] == "[core x 1.0, sport x 0.8 (sport)]"
    assert spoke[1].startswith("[academic x 1.0")


def test_feedback_is_kept_in_the_data_folder_and_comes_out_as_an_exemplar(agoge: str, data: Path) -> None:
    decided = httpx.post(f"{agoge}/v1/decisions", json={"input": "Кто такой Бозон Хиггс?"}, timeout=60).json()
    body = {
        "decision_id": decided["decision_id"],
        "verdict": "wrong",
        "label": "sport",
        "text": "Бозон с маслом",
    }
    assert httpx.post(f"{agoge}/v1/feedback", json=body, timeout=60).status_code == 201
    done = run("outcomes", "export", "--from", str(data / "outcomes.jsonl"), "--json")
    assert done.returncode == 0, done.stderr
    assert {"text": "Бозон с маслом", "label": "sport", "lang": "ru"} in json.loads(done.stdout)["exemplars"]
