"""YAML text -> plain data plus the line of every value. The only module that imports yaml; knows no policy.

Stricter than YAML 1.1: duplicate keys, unquoted words that 1.1 turns into something else (`no`, `off`, dates,
octal), tags, several documents and files over 1 MB are errors, each with its line. Anchors and `<<` work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from router.core.errors import PolicyInvalid, Problem

MAX_BYTES = 1_000_000
MAX_NODES = 50_000
"""Values after anchors are expanded: a few lines of nested anchors could otherwise fill the memory."""

_KINDS = {
    f"tag:yaml.org,2002:{tag}": kind
    for tag, kind in (
        ("null", "null"),
        ("bool", "a boolean"),
        ("int", "a number"),
        ("float", "a number"),
        ("timestamp", "a date"),
        ("value", "a default"),
        ("merge", "a merge"),
    )
}
"""Tags of plain scalars that are no text."""
_MERGE = "tag:yaml.org,2002:merge"
_SAME_EVERYWHERE = re.compile(
    r"true|false|null|~||[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+|[-+]?\.(inf|nan)",
    re.IGNORECASE,
)
"""Plain scalars that are no text, and that YAML 1.1 and 1.2 read alike."""

_HALF = re.compile("[\ud800-\udfff]")  # which "\ud800" in quotes becomes, and nothing can print


@dataclass(frozen=True, slots=True)
class Written:
    """What a file says and where: `lines` maps a dotted path ("adapters.core.weight") to its 1-based line.

    `shows`: in a file of secrets, the only keys that may be named; paths call the others #1, #2, ... in file
    order, and no message quotes a value. None: nothing here is secret.
    """

    data: Any
    file: str
    lines: Mapping[str, int] = field(default_factory=dict)
    shows: frozenset[str] | None = None

    def line(self, where: str) -> int | None:
        """Return the line of `where`, or of the nearest thing around it that is written down."""
        while where and where not in self.lines:
            where = where.rpartition(".")[0]
        return self.lines.get(where)


def read_yaml(path: Path, *, shows: frozenset[str] | None = None) -> Written:
    """Read one file. Raises PolicyInvalid, with the line where there is one, when it is not sound YAML."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = Problem("", f"cannot be read: {error.strerror}", "give the path of a readable file", str(path))
        raise PolicyInvalid([problem]) from error
    return parse_yaml(content, str(path), shows=shows)


def parse_yaml(content: bytes, file: str, *, shows: frozenset[str] | None = None) -> Written:
    """Parse what a file holds; `file` is only named in errors. Raises PolicyInvalid."""
    if len(content) > MAX_BYTES:
        raise PolicyInvalid([Problem("", "is larger than 1 MB", "split it; policies are short", file)])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyInvalid([Problem("", "is not UTF-8", "save it as UTF-8", file, line)]) from error
    reading = _Reading(file, shows)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise PolicyInvalid([Problem("", "is empty", "see docs/policy.md for a first one", file)])
        data = reading.value(node, (), loader)
    except yaml.YAMLError as error:
        raise PolicyInvalid([_syntax_problem(error, text, file, quotes=shows is None)]) from error
    except OverflowError as error:  # "\UFFFFFFFF"
        right = "Unicode ends at \\U0010FFFF"
        raise PolicyInvalid([Problem("", "holds an escape that names no character", right, file)]) from error
    except RecursionError as error:
        raise PolicyInvalid([Problem("", "is nested too deeply", "flatten it", file)]) from error
    if reading.problems:
        raise PolicyInvalid(reading.problems)
    return Written(data, file, reading.lines, shows)


def _syntax_problem(error: yaml.YAMLError, text: str, file: str, *, quotes: bool) -> Problem:
    """Say in words what the parser stumbled over."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem("", "holds a control character", "remove it", file, line)
    mark, said = getattr(error, "problem_mark", None), str(getattr(error, "problem", None) or error)
    at = mark.line + 1 if mark is not None else None
    if "'\\t'" in said:
        return Problem("", "a tab is used for indentation", "use spaces", file, at)
    if "single document" in str(getattr(error, "context", "")):
        return Problem("", "holds several documents (`---`)", "keep one per file", file, at)
    wrong = f"is not YAML: {said}" if quotes else "is not YAML"  # the parser quotes aliases and tags
    return Problem("", wrong, "check quotes, colons and indentation around this line", file, at)


class _Reading:
    """One walk over the parsed nodes: collects data, lines and problems."""

    def __init__(self, file: str, shows: frozenset[str] | None) -> None:
        self.file = file
        self.shows = shows
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.seen = 0
        self.inside: set[int] = set()

    def wrong(self, path: tuple[str, ...], node: yaml.Node, wrong: str, right: str) -> Any:
        """Note a problem and return None in place of the value: `parse_yaml` never lets it out."""
        self.problems.append(Problem(".".join(path), wrong, right, self.file, node.start_mark.line + 1))
        return None

    def value(self, node: yaml.Node, path: tuple[str, ...], loader: yaml.SafeLoader) -> Any:
        """Return the plain data of `node`; problems are noted and read on past."""
        self.seen += 1
        self.lines.setdefault(".".join(path), node.start_mark.line + 1)
        if id(node) in self.inside:
            return self.wrong(path, node, "an anchor contains itself", "write the value out")
        if self.seen > MAX_NODES:
            if self.seen == MAX_NODES + 1:
                self.wrong(path, node, f"anchors expand to more than {MAX_NODES} values", "write less")
            return None
        self.inside.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
                return self.mapping(node, path, loader)
            if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
                return [self.value(item, (*path, str(at)), loader) for at, item in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode):
                return self.scalar(node, path, loader)
        finally:
            self.inside.discard(id(node))
        return self.wrong(path, node, f"the tag {node.tag} is not allowed", "remove it")

    def mapping(self, node: yaml.MappingNode, path: tuple[str, ...], loader: yaml.SafeLoader) -> dict[str, Any]:
        """Return a mapping; keys of its own win over keys that `<<` brings in."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for at, (key_node, value_node) in enumerate(node.value, 1):
            if key_node.tag == _MERGE:
                for part in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    if isinstance(found := self.value(part, path, loader), dict):
                        merged = {**found, **merged}
                    else:
                        self.wrong(path, part, "`<<` merges mappings only", "point it at a mapping")
                continue
            key = self.scalar(key_node, path, loader) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                if isinstance(key_node, yaml.ScalarNode) and not self.noted(key_node):
                    shown = "" if self.shows is not None else f" `{key_node.value}`"
                    self.wrong(path, key_node, f"the key{shown} is not text", "put it in quotes")
                elif not isinstance(key_node, yaml.ScalarNode):
                    self.wrong(path, key_node, "a key is a list or a mapping", "use text as keys")
                continue
            shown = key if self.shows is None or key in self.shows else f"#{at}"
            if key in own:
                self.wrong((*path, shown), key_node, "is written twice", "keep one of the two")
                continue
            self.lines[".".join((*path, shown))] = key_node.start_mark.line + 1
            own[key] = self.value(value_node, (*path, shown), loader)
        return {**merged, **own}

    def noted(self, node: yaml.Node) -> bool:
        """Say whether the last problem is already about this line's scalar."""
        return bool(self.problems) and self.problems[-1].line == node.start_mark.line + 1

    def scalar(self, node: yaml.ScalarNode, path: tuple[str, ...], loader: yaml.SafeLoader) -> Any:
        """Return text, number, boolean or null; words that YAML 1.1 reads in its own way are problems."""
        text: str = node.value
        if _HALF.search(text):
            return self.wrong(
                path, node, "holds half a character", "write both halves of the surrogate pair, or none"
            )
        if node.tag == "tag:yaml.org,2002:str":
            return text
        kind = _KINDS.get(node.tag)
        if kind is None or node.style is not None:
            return self.wrong(path, node, f"the tag {node.tag} is not allowed", "remove it")
        if not _SAME_EVERYWHERE.fullmatch(text):
            shown = f"`{text}`" if self.shows is None else "a word here"
            return self.wrong(
                path,
                node,
                f"{shown} is {kind} to this YAML reader, another thing to others",
                "put text in quotes; write numbers in plain digits and booleans as true or false",
            )
        try:
            return loader.construct_object(node)
        except (ValueError, KeyError):  # `!!int 1.5`, or more digits than Python converts
            return self.wrong(path, node, "does not fit its tag", "remove the tag")
