"""The figures that every reader sees are those that were measured, and those of today's code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks import figures
from idealflow.workflow import run_campaign
from idealflow.workflow.config.load import maker_from_settings
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.frames.encode import to_stored
from support import tiny

ROOT = Path(__file__).parents[2]
AGAIN = "; run workflows/checks/figures.py"


@pytest.fixture
def stored() -> dict[str, Any]:
    return dict(json.loads((ROOT / "docs" / "examples" / "figures.json").read_text()))


def test_pages_show_what_is_stored(stored: dict[str, Any]) -> None:
    for page, text in figures.rendered(stored).items():
        assert (ROOT / page).read_text() == text, page + AGAIN


def test_the_tutorials_claims_hold_with_all_vectors(stored: dict[str, Any]) -> None:
    """Whatever the processor, the model learns, and a label of EMT gains no time."""
    thresholds = [found["summary"]["uncertainty_threshold"] for found in stored.values()]
    assert thresholds == pytest.approx([thresholds[0]] * 3, rel=1e-6)
    for found in stored.values():
        for stage in found["summary"]["evaluation"]:
            for error in ("energy_mae_{}_meV_per_atom", "force_mae_{}_meV_per_A"):
                assert stage[error.format("last")] < stage[error.format("first")]


def test_the_python_page_tells_what_a_last_digit_decides(stored: dict[str, Any]) -> None:
    """All that its example prints is the same with all vectors, but for which of equal atoms comes first."""
    rows = [found["from_python"] for found in stored.values()]
    assert all(len(printed) == len(rows[0]) == 3 for printed in rows)
    columns = [[column for i, column in enumerate(printed[2].split()) if i != 2] for printed in rows]
    assert columns[0] == columns[1] == columns[2]
    atoms = [printed[2].split()[2] for printed in rows]
    page = " ".join((ROOT / "docs" / "howto" / "python.md").read_text().split())
    assert f"({atoms[0]}, {atoms[1]} and {atoms[2]} on one processor" in page


def test_the_tutorials_threshold_is_todays(stored: dict[str, Any], tmp_path: Path) -> None:
    """The threshold is the same on every processor: a change of it makes all figures stale."""
    settings = yaml.safe_load((ROOT / "docs" / "examples" / "first.yaml").read_text())
    frame = build_structure(settings.pop("structure"))
    settings["bootstrap"]["fit_steps"] = 1  # a force field decides no threshold
    maker = maker_from_settings(settings | {"artifacts": str(tmp_path / "artifacts"), "work": str(tmp_path / "work")})
    state = run_campaign(maker, to_stored(frame), tiny.sqlite(tmp_path), max_rounds=1, root_dir=tmp_path)
    expected = stored["native"]["summary"]["uncertainty_threshold"]
    assert state.threshold == pytest.approx(expected, rel=1e-6), AGAIN
