"""Stored frames may be rounded; the walker and what it teaches are the same to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idealflow import MDSegmentMaker
from idealflow.errors import InputError
from support import tiny


def test_rounded_frames_change_nothing_but_themselves(tmp_path: Path) -> None:
    ends: dict[str, Any] = {}
    for form in ("exact", "positions"):
        segment = {"trajectory_format": form}
        ends[form] = tiny.run(tmp_path / form, max_rounds=4, evaluation={"n_frames": 0}, segment=segment)
    (one, exact), (two, rounded) = ends["exact"], ends["positions"]
    assert two.walkers == one.walkers
    assert two.learner == one.learner
    assert two.n_substructures == one.n_substructures > 0
    frames = list(zip(exact.trajectory(), rounded.trajectory(), strict=True))
    assert len(frames) > 2
    for full, short in frames:
        assert short.info == full.info
        assert np.array_equal(short.positions, full.positions.astype(np.float32))
        assert "momenta" not in short.arrays
        assert "momenta" in full.arrays


def test_the_default_is_written_as_earlier_versions_did() -> None:
    assert "trajectory_format" not in MDSegmentMaker().as_dict()
    assert MDSegmentMaker(trajectory_format="single").as_dict()["trajectory_format"] == "single"


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"segment.trajectory_format"):
        tiny.maker(tmp_path, segment={"trajectory_format": "half"})
