"""A model screens a frame once: the segment's last check goes to the screen, and to the segment that begins at the same frame."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idealflow.core import ScreenedFrame, UncertaintyModel
from idealflow.schemas import ScreenDoc
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.encode import load_frame
from idealflow.workflow.frames.screened import load_screened
from idealflow.workflow.learner.version import load_uncertainty_artifact
from support import tiny


@pytest.fixture
def screened(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[bytes, int]]:
    """How often each frame of the campaign was screened whole by each distribution."""
    seen: Counter[tuple[bytes, int]] = Counter()
    inner, n_atoms = UncertaintyModel.__call__, len(tiny.frame())

    def counted(self: UncertaintyModel, atoms: Any, indices: Any = None, **settings: Any) -> Any:
        if indices is None and len(atoms) == n_atoms:
            seen[atoms.positions.tobytes(), id(self)] += 1
        return inner(self, atoms, indices, **settings)

    monkeypatch.setattr(UncertaintyModel, "__call__", counted)
    return seen


def test_no_frame_is_screened_twice_by_a_model(tmp_path: Path, screened: Counter[tuple[bytes, int]]) -> None:
    state, campaign = tiny.run(tmp_path, max_rounds=8, evaluation={"n_frames": 0})
    assert state.n_substructures > 0
    assert set(screened.values()) == {1}
    ends = campaign.segments()
    assert {doc.reason for doc in ends} >= {"triggered", "segment_end"}
    assert all(doc.screened is not None for doc in ends if doc.reason != "blow_up")


def test_what_is_handed_over_is_what_a_screen_would_find(finished: Any) -> None:
    campaign = finished.campaign
    store = ArtifactStore(str(finished.state.artifacts))
    versions = {doc.version_before: doc for doc in campaign.updates()}
    segment = next(doc for doc in campaign.segments() if doc.reason == "triggered" and doc.model_version == 0)
    learner = finished.state.first_learner
    assert versions[0].version_before == segment.model_version == learner.version
    u, frame = load_uncertainty_artifact(store, learner), load_frame(store, segment.frame)
    threshold = campaign.bootstrap().threshold
    found = ScreenedFrame.of(u, frame, threshold, max_centres=2)
    handed = load_screened(store, segment.screened, threshold)
    assert handed is not None
    assert np.array_equal(handed.values, found.values)
    assert np.array_equal(handed.triggering, found.triggering)
    again = ScreenedFrame.of(u, frame, threshold, 2, handed.values, handed.triggering)
    assert again.centres.tolist() == found.centres.tolist()
    screen: ScreenDoc = next(doc for doc in campaign.screens() if doc.segment_uuid == segment.uuid)
    assert [centre.atom for centre in screen.centres] == found.centres.tolist()
    assert load_screened(store, segment.screened, threshold + 0.1) is None
