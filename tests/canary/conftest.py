from __future__ import annotations

import pytest

from tests.canary.cast import Cast, write_cast


@pytest.fixture(scope="session")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Cast:
    return write_cast(tmp_path_factory.mktemp("cast"))
