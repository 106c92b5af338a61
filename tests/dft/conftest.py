"""GPAW, where it is installed; where it has to be, its absence is a failure."""

from __future__ import annotations

import importlib.util
import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def gpaw() -> None:
    """Skip without GPAW, unless IDEALFLOW_REQUIRE_GPAW is set (`make test` builds it)."""
    if importlib.util.find_spec("gpaw") is None:
        if os.environ.get("IDEALFLOW_REQUIRE_GPAW"):
            pytest.fail("GPAW is not installed; run `make gpaw`")
        pytest.skip("GPAW is not installed; `make gpaw` builds it")
