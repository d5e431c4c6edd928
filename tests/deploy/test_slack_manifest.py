"""deploy/slack/manifest.yaml asks Slack for exactly what the code uses: every event, every scope, no more.

Source of the scopes: each method's and event's page on docs.slack.dev.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.deploy.compose_file import ROOT

TEXT = (ROOT / "deploy" / "slack" / "manifest.yaml").read_text("utf-8")
CODE = sorted((ROOT / "router" / "channels" / "slack").glob("*.py"))
HISTORIES = {"channels:history", "groups:history", "im:history", "mpim:history"}
SCOPES: dict[str, set[str]] = {
    "auth.test": set(),
    "views.open": set(),
    "chat.postMessage": {"chat:write"},
    "chat.postEphemeral": {"chat:write"},
    "chat.update": {"chat:write"},
    "chat.startStream": {"chat:write"},
    "chat.appendStream": {"chat:write"},
    "chat.stopStream": {"chat:write"},
    "conversations.replies": HISTORIES,
    "assistant.threads.setStatus": {"assistant:write"},
    "assistant.threads.setSuggestedPrompts": {"assistant:write"},
    # events and features
    "assistant_thread_started": {"assistant:write"},
    "assistant_thread_context_changed": {"assistant:write"},
    "message": {"im:history"},
    "app_mention": {"app_mentions:read"},
    "command": {"commands"},
}


def manifest(text: str = TEXT) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def called(names: tuple[str, ...]) -> Iterator[str]:
    """Yield the first argument of every call of a method named so, where it is a text."""
    for file in CODE:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value


METHODS = set(called(("call", "ask", "_call")))
EVENTS = set(called(("event",)))


def test_every_method_and_event_is_found_in_the_code() -> None:
    assert {name for name in SCOPES if "." in name} == METHODS
    assert {*EVENTS, "command"} == {name for name in SCOPES if "." not in name}


def test_the_scopes_are_those_that_the_code_needs() -> None:
    needed = set().union(*(SCOPES[name] for name in (*METHODS, *EVENTS, "command")))
    assert sorted(manifest()["oauth_config"]["scopes"]["bot"]) == sorted(needed)


def test_the_events_are_those_that_the_code_hears() -> None:
    subscribed = manifest()["settings"]["event_subscriptions"]["bot_events"]
    assert {event.split(".")[0] for event in subscribed} == EVENTS
    assert [event for event in subscribed if event.startswith("message")] == ["message.im"]


def test_buttons_and_the_command_reach_us() -> None:
    assert manifest()["settings"]["interactivity"]["is_enabled"] is True
    assert [command["command"] for command in manifest()["features"]["slash_commands"]] == ["/agoge"]
    assert manifest()["settings"]["socket_mode_enabled"] is True


def test_for_http_the_commented_addresses_are_our_routes() -> None:
    http = manifest(re.sub(r"# ((?:request_)?url: )", r"\1", TEXT))
    assert http["settings"]["event_subscriptions"]["request_url"].endswith("/slack/events")
    assert http["settings"]["interactivity"]["request_url"].endswith("/slack/interactions")
    assert http["features"]["slash_commands"][0]["url"].endswith("/slack/commands")


@pytest.mark.parametrize(
    ("path", "longest"), [(("display_information", "name"), 35), (("display_information", "description"), 140)]
)
def test_texts_are_within_slacks_limits(path: tuple[str, str], longest: int) -> None:
    assert 1 <= len(manifest()[path[0]][path[1]]) <= longest
