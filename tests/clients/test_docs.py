"""Every code block of these pages, as a reader pastes it, against the real server and the real LiteLLM proxy."""

from __future__ import annotations

import pytest
import yaml

from tests.clients.engine_thread import EngineThread
from tests.clients.proxy import KEY, Proxy
from tests.clients.test_litellm_plugin import CONFIG, IDS
from tests.live import Agoge
from tests.snippets import AGOGE, Snippet, run, snippets

PROXY = "http://127.0.0.1:4000"
STAGED = ("Many decisions at once", "Feedback")  # tests/channels/test_integrations_page.py runs these
DIRECT = [each for each in snippets("docs/clients.md", "docs/integrations.md") if each.section not in STAGED]
PROXIED = snippets("docs/litellm.md")
CLIENTS = ("curl", "OpenAI(base", "ChatOpenAI(", "AsyncInferenceClient(", "litellm.completion", "new OpenAI(")


@pytest.mark.parametrize("snippet", [each for each in DIRECT if each.runs], ids=lambda each: each.name)
def test_a_page_does_what_it_says(agoge: Agoge, snippet: Snippet) -> None:
    run(snippet, {AGOGE: agoge.url})


@pytest.mark.parametrize("snippet", [each for each in PROXIED if each.runs], ids=lambda each: each.name)
def test_the_litellm_page_does_what_it_says(
    agoge: Agoge, proxy: Proxy, engine: EngineThread, snippet: Snippet
) -> None:
    engine.hold(*IDS.values())
    run(snippet, {AGOGE: agoge.url, PROXY: proxy.url}, {"LITELLM_MASTER_KEY": KEY})


def test_no_client_is_without_a_block_that_runs() -> None:
    code = [each.code for each in DIRECT if each.file == "docs/clients.md" and each.runs]
    assert [name for name in CLIENTS if not any(name in each for each in code)] == []
    assert [each.name for each in (*DIRECT, *PROXIED) if each.kept] == []


def test_the_litellm_page_shows_what_the_example_holds() -> None:
    for shown in (yaml.safe_load(each.code) for each in PROXIED if each.language == "yaml"):
        assert [entry for entry in shown["model_list"] if entry not in CONFIG["model_list"]] == []
        for name, value in shown.get("litellm_settings", {}).items():
            assert CONFIG["litellm_settings"][name] == value
