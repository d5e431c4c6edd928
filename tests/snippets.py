"""Code blocks of our pages, found and run as a reader would: the addresses are the only thing that is replaced.

What is run, by the word behind the three backquotes:

- `python`, `bash`, `js`: a program of its own. It must end well, and print what every comment `# -> TEXT` (in
  JavaScript `// -> TEXT`) promises.
- `console`: the lines that begin with `$ ` are run as `bash`; every other line must be in what they print.
- `json METHOD /path`: a body that is sent to the server, whose answer must be 200. Plain `json` and `yaml` must
  parse.
- no word, `text`: nothing. Any other word is an error.

`<!-- not run: REASON -->` on the line before keeps a block from being run; without a reason that is an error, too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from tests.clients import node
from tests.live import ROOT

AGOGE = "http://127.0.0.1:8080"  # as our pages write it
_BLOCK = re.compile(
    r"(?:^ *<!-- not run:(?P<why>[^\n]*?)-->\n)?"
    r"^ *(?P<fence>```+)(?P<info>[^\n]*)\n(?P<code>.*?)^ *(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_PROMISE = re.compile(r"(?:#|//) -> (.+?)[ \t]*$", re.MULTILINE)
_SECONDS = 240
_PROGRAMS = ("python", "bash", "js", "console")
_DATA = ("json", "yaml")


class SnippetFailed(AssertionError):
    """A block does not do what its page says."""


@dataclass(frozen=True)
class Snippet:
    """One code block. `info` is what follows its backquotes, `line` where it begins, `kept` why it is not run,
    `section` the `## ` heading above."""

    file: str
    line: int
    info: str
    code: str
    kept: str | None = None
    section: str = ""

    @property
    def language(self) -> str:
        """The first word of `info`."""
        return self.info.partition(" ")[0]

    @property
    def name(self) -> str:
        """The block, as a test's id."""
        return f"{Path(self.file).name}:{self.line}:{self.language or 'text'}"

    @property
    def runs(self) -> bool:
        """Whether there is anything to run, send or parse."""
        return self.kept is None and self.language in (*_PROGRAMS, *_DATA)

    @property
    def promised(self) -> tuple[str, ...]:
        """What it must print."""
        if self.language == "console":
            return tuple(line for line in self.code.splitlines() if line.strip() and not line.startswith("$ "))
        return tuple(_PROMISE.findall(self.code))


def snippets(*pages: str) -> list[Snippet]:
    """Return the blocks of these pages, in order. Raises SnippetFailed for a bad one."""
    return [each for page in pages for each in read(page, (ROOT / page).read_text("utf-8"))]


def read(file: str, text: str) -> list[Snippet]:
    """Return the blocks of one page's text. Raises SnippetFailed for an unknown word, or a missing reason."""
    found = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("fence")) + 1
        kept = block["why"].strip() if block["why"] is not None else None
        headings = re.findall(r"^## (.+)$", text[: block.start()], re.MULTILINE)
        code = textwrap.dedent(block["code"])
        snippet = Snippet(file, line, block["info"].strip(), code, kept, headings[-1] if headings else "")
        if snippet.language not in ("", "text", *_PROGRAMS, *_DATA):
            raise SnippetFailed(
                f"{snippet.name}: nobody runs {snippet.language!r}; use python, bash, js, console ..."
            )
        if kept == "":
            raise SnippetFailed(f"{snippet.name}: say why it is not run: <!-- not run: REASON -->")
        found.append(snippet)
    return found


def run(snippet: Snippet, addresses: Mapping[str, str], environment: Mapping[str, str] | None = None) -> str:
    """Run one block; return what it printed, the server's answer, or nothing for data.

    `addresses` maps an address as the page writes it to the one that serves now: {AGOGE: "http://127.0.0.1:4242"}.
    Raises SnippetFailed when it fails, or does not print what it promises.
    """
    code = snippet.code
    for written, real in addresses.items():
        code = code.replace(written, real)
    if snippet.language == "python":
        printed = _program(snippet, [sys.executable, "-c", code], environment)
    elif snippet.language in ("bash", "console"):
        if snippet.language == "console":
            code = "\n".join(line[2:] for line in code.splitlines() if line.startswith("$ "))
        printed = _program(snippet, ["bash", "-euo", "pipefail", "-c", code], environment)
    elif snippet.language == "js":
        printed = node.run(code, next(iter(addresses.values())))
    else:
        return _data(snippet, code, addresses)
    for text in snippet.promised:
        if text not in printed:
            raise SnippetFailed(f"{snippet.name}: promises {text!r}, but prints:\n{printed}")
    return printed


def _program(snippet: Snippet, command: list[str], environment: Mapping[str, str] | None) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode:
        raise SnippetFailed(f"{snippet.name}: ends with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _data(snippet: Snippet, code: str, addresses: Mapping[str, str]) -> str:
    try:
        document = json.loads(code) if snippet.language == "json" else yaml.safe_load(code)
    except (ValueError, yaml.YAMLError) as error:
        raise SnippetFailed(f"{snippet.name}: is no {snippet.language}: {error}") from None
    words = snippet.info.split()
    if len(words) == 1:
        return ""
    method, path = words[1:]
    reply = httpx.request(method, f"{addresses[AGOGE]}{path}", json=document, timeout=_SECONDS)
    if reply.status_code != 200:
        raise SnippetFailed(f"{snippet.name}: the server answers {reply.status_code}: {reply.text}")
    return reply.text
