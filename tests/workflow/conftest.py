"""A campaign that has learned, to be gone on with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support import tiny
from support.other_method import HOT


@pytest.fixture(scope="session")
def by_emt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a campaign that has learned from EMT, in its bootstrap and in a round; read only."""
    folder = tmp_path_factory.mktemp("emt")
    state, rounds = None, 1
    while state is None or state.n_substructures == 0:
        rounds += 1
        state, _ = tiny.run(folder, max_rounds=1, **HOT)
        assert rounds < 9
    return folder


@pytest.fixture
def folder(by_emt: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(by_emt, tmp_path / "campaign")
