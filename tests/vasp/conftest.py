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
    """Put the emulation on PATH as `vasp_std`; call with fractions of fates, or with a list of them, to make it fail."""
    folders = [str(Path(__file__).parent / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    monkeypatch.delenv("EMULATED_VASP_FATES", raising=False)

    def set_fates(in_turn: list[str] | None = None, spared: int = 0, **fractions: float) -> None:
        monkeypatch.setenv("EMULATED_VASP_FATES", json.dumps(fractions if in_turn is None else in_turn))
        monkeypatch.setenv("EMULATED_VASP_TURNS", str(tmp_path / "emulated-vasp-turns"))
        monkeypatch.setenv("EMULATED_VASP_SPARED", str(spared))

    return set_fates
