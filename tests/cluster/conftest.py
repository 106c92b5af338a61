"""The document server of the tests: started once, on a free port, with a file of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import TESTS
from workbench.cluster import Cluster, drop, missing_tools, running_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Uri of a server that speaks MongoDB's protocol."""
    if (lacking := missing_tools()) is not None:
        if os.environ.get("IDEALFLOW_REQUIRE_SERVER"):
            pytest.fail(lacking)
        pytest.skip(lacking)
    with running_server(tmp_path_factory.mktemp("server")) as uri:
        yield uri


@pytest.fixture
def cluster(server: str, tmp_path: Path) -> Iterator[Cluster]:
    """Launchpad, job store and workers with a database of their own."""
    made = Cluster(tmp_path / "cluster", server, python_path=(TESTS,))
    yield made
    made.end()
    drop(server, made.database)
