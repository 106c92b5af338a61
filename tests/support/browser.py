"""Whether there is a Chromium for the tests of pages; `workbench.browser` drives it."""

from __future__ import annotations

import os

import pytest

from workbench.browser import MISSING, chromium


def find() -> str:
    """Path of a Chromium; where there is none the test is skipped, under IDEALFLOW_REQUIRE_BROWSER it fails."""
    path = chromium()
    if path is None:
        if os.environ.get("IDEALFLOW_REQUIRE_BROWSER"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return path
