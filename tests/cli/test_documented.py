"""docs/cli.md names every verb there is and no other; every verb has its help; what it says of --json is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from router.cli.main import command
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")
ROWS = re.findall(r"^\| `agoge ([a-z ]+)` \| .+ \| (yes)? ?\|$", PAGE, re.MULTILINE)


def verbs(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield (*path, name), found
        if isinstance(found, click.Group):
            yield from verbs(found, (*path, name))


EVERY = dict(verbs(command))


def test_the_page_names_every_verb_and_no_other() -> None:
    single = {" ".join(path) for path, verb in EVERY.items() if not isinstance(verb, click.Group)}
    assert len(single) > 25
    assert sorted(name for name, _ in ROWS) == sorted(single)


def test_the_page_says_which_verbs_print_json() -> None:
    told = {name for name, prints in ROWS if prints}
    have = {" ".join(path) for path, verb in EVERY.items() if any("--json" in each.opts for each in verb.params)}
    assert told == have


_ASK = """
import json, sys
from click.testing import CliRunner
from router.cli.main import command
told = []
for path in json.load(sys.stdin):
    for flag in ("--help", "-h"):
        done = CliRunner().invoke(command, [*path, flag], prog_name="agoge")
        told.append([path, flag, done.exit_code, done.output])
print(json.dumps(told))
"""


def test_help_of_each_works() -> None:
    # in a process of its own: click remembers which flags a verb had when it was first called, and other tests
    # call verbs without the group above them
    done = subprocess.run(
        [sys.executable, "-c", _ASK], input=json.dumps(list(EVERY)), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) == 2 * len(EVERY)
    for path, flag, code, printed in told:
        assert code == 0, (path, flag, printed)
        assert printed.startswith(f"Usage: agoge {' '.join(path)}")
        assert len(printed.splitlines()) > 4


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_calls_us_and_the_page_says_where_it_goes(shell: str) -> None:
    done = CliRunner().invoke(command, ["completion", shell], prog_name="agoge")
    assert done.exit_code == 0
    assert f"_AGOGE_COMPLETE={shell}_complete" in done.stdout
    assert f"agoge completion {shell} >" in PAGE
    assert f"agoge completion {shell} >" in CliRunner().invoke(command, ["completion", "--help"]).stdout.replace(
        "a file _agoge", ""
    )


def test_bash_takes_the_script() -> None:
    """Bash itself reads the script and completes with it; `agoge` is a function that starts this tree's code."""
    script = CliRunner().invoke(command, ["completion", "bash"], prog_name="agoge").stdout
    us = f'"{sys.executable}" -m router.cli'
    asks = f"""
{script.replace("_AGOGE_COMPLETE=bash_complete $1", f"_AGOGE_COMPLETE=bash_complete {us}")}
complete -p agoge
COMP_WORDS=(agoge policy c) COMP_CWORD=2 COMPREPLY=()
_agoge_completion agoge
echo "${{COMPREPLY[@]}}"
COMP_WORDS=(agoge ask --m) COMP_CWORD=2 COMPREPLY=()
_agoge_completion agoge
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", asks], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "complete -o nosort -F _agoge_completion agoge",
        "check",
        "--mode --max-tokens",
    ]


def test_completing_a_verb_imports_none() -> None:
    code = (
        "import sys, router.cli.main\n"
        "try: router.cli.main.main([])\n"
        "except SystemExit: print([name for name in sys.modules if name.startswith('router.cli.')])"
    )
    environment = {**os.environ, "_AGOGE_COMPLETE": "zsh_complete", "COMP_WORDS": "agoge b", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    *shown, loaded = done.stdout.splitlines()
    assert shown[:2] == ["plain", "blends"]
    assert loaded == "['router.cli.lazy', 'router.cli.main']"
