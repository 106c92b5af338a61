"""What asks for no further label once it is learned: the centre of a substructure, or all of a frame that was labelled whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from idealflow.core import screen
from idealflow.workflow.frames.encode import labelled_atoms
from idealflow.workflow.learner.version import load_uncertainty_artifact
from support import tiny

SHORT = {"screen": {"max_centres": 1}, "evaluation": {"n_frames": 0}, "max_rounds": 6}
WHOLE = SHORT | {"crop": {"max_atoms": 200}, "threshold": 2.0}


def labels_by_step(folder: Path, **update: Any) -> tuple[Any, Counter[int]]:
    _, campaign = tiny.run(folder, update=update, **WHOLE)
    return campaign, Counter(doc.step for doc in campaign.substructures(state="accepted"))


def test_a_frame_labelled_whole_is_learned_once(tmp_path: Path) -> None:
    campaign, labels = labels_by_step(tmp_path, covers="whole")
    assert labels
    assert max(labels.values()) == 1
    state = campaign.state()
    u = load_uncertainty_artifact(campaign.artifacts, state.learner)
    for doc in campaign.substructures(state="accepted"):
        assert len(doc.core) == len(tiny.frame())
        assert len(screen(u, labelled_atoms(doc), state.threshold)) == 0
    assert sum(u.n_covered.values()) > labels.total()


def test_by_default_its_other_atoms_ask_again(tmp_path: Path) -> None:
    _, labels = labels_by_step(tmp_path)
    assert max(labels.values()) > 1


def test_of_a_cut_out_substructure_the_centre_alone_is_covered(tmp_path: Path) -> None:
    """Its other environments are not the frame's."""
    _, campaign = tiny.run(tmp_path, update={"covers": "whole"}, **SHORT)
    u = load_uncertainty_artifact(campaign.artifacts, campaign.state().learner)
    assert sum(u.n_covered.values()) == len(campaign.substructures(state="accepted")) > 0


def test_what_covers_is_one_of_two(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"covers.*centre.*whole"):
        tiny.maker(tmp_path, update={"covers": "all"})
