"""The emulation of VASP on PATH."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def emulation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Put the emulation on PATH as `vasp_std`; call with the fates of the first cells to make it fail."""
    folders = [str(Path(__file__).parent / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    monkeypatch.delenv("EMULATED_VASP_FATES", raising=False)

    def set_fates(*in_turn: str, spared: int = 0) -> None:
        monkeypatch.setenv("EMULATED_VASP_FATES", json.dumps(in_turn))
        monkeypatch.setenv("EMULATED_VASP_TURNS", str(tmp_path / "emulated-vasp-turns"))
        monkeypatch.setenv("EMULATED_VASP_SPARED", str(spared))

    return set_fates
