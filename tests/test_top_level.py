"""The repository's top level holds what was agreed on, and nothing that a run left behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"docs", "notebooks", "src", "tests", "workflows"}
FILES = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "pyproject.toml"}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an archive of the sources has no list of tracked files")
def test_nothing_else_is_tracked_at_the_top() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = {line.split("/", 1)[0] for line in listed.splitlines()}
    assert {name for name in names if not name.startswith(".")} == FOLDERS | FILES
