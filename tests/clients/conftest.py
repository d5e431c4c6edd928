"""One real Agoge with the embedded engine for this folder, and one real LiteLLM proxy in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.engine_thread import EngineThread
from tests.clients.proxy import Proxy, proxying
from tests.live import ROOT, Agoge, serving

HERE = Path(__file__).parent
TEST_SECONDS = 600  # the first test waits for the training of the classifier, the server and the proxy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give what lies in this folder, and nothing else, the time that the first of them takes on a busy machine."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


@pytest.fixture(scope="session")
def agoge(data: Path) -> Iterator[Agoge]:
    """A live Agoge on the shipped policy, every blend of it served."""
    with serving(ROOT / "policies" / "default.yaml", data) as live:
        live.until("the embedded engine", 180)
        yield live


@pytest.fixture(scope="session")
def base(agoge: Agoge) -> str:
    """The base URL that clients are given."""
    return f"{agoge.url}/v1"


@pytest.fixture(scope="session")
def engine() -> Iterator[EngineThread]:
    """A vLLM as far as the wire shows it, that records what it is asked; each test says what it holds."""
    with EngineThread() as live:
        yield live


@pytest.fixture(scope="session")
def proxy(base: str, engine: EngineThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A live LiteLLM proxy on deploy/litellm/config.yaml."""
    log = tmp_path_factory.mktemp("litellm") / "log"
    with proxying(ROOT / "deploy" / "litellm" / "config.yaml", base, f"{engine.url}/v1", log) as live:
        yield live
