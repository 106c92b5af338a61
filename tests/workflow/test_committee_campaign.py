"""A campaign that screens, crops and relaxes on a committee of force fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idealflow.core import SOAP, UncertaintyModel
from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import CommitteeUncertainty, load_force_field, register_force_field
from idealflow.forcefields.local import LocalForceField
from idealflow.forcefields.registry import FORCE_FIELDS
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.learner.uncertainties import load_uncertainty
from support import tiny

COMMITTEE = {"uncertainty": "committee", "committee_size": 2}


def run(folder: Path, **changes: Any) -> Any:
    segment = {"schedule": tiny.schedule(1, 20)[1:]}
    return tiny.run(folder, bootstrap=COMMITTEE, segment=segment, evaluation={"n_frames": 0}, **changes)


def test_a_campaign_on_a_committee(tmp_path: Path) -> None:
    state, campaign = run(tmp_path / "whole")
    assert state.status == "finished"
    assert state.n_substructures >= 2
    artifacts = ArtifactStore(state.artifacts)
    learned = [doc for doc in campaign.updates() if doc.learned]
    for learner in (state.first_learner, *(doc.learner for doc in learned)):
        committee = load_uncertainty(artifacts.get(learner.uncertainty))
        assert isinstance(committee, CommitteeUncertainty)
        assert len(committee.members) == 2
        # the first member is the model version that the committee is stored with
        leader, driving = committee.members[0], load_force_field(artifacts.get(learner.force_field))
        frame = tiny.frame()
        np.testing.assert_array_equal(leader.atomic_energies()(frame), driving.atomic_energies()(frame))
    assert state.threshold == load_uncertainty(artifacts.get(state.first_learner.uncertainty)).auto_threshold()
    docs = campaign.substructures(state="accepted")
    relaxations = [campaign.lineage(doc.uuid).relaxation for doc in docs]
    assert any(doc.uncertainty_after < doc.uncertainty_before for doc in relaxations)
    assert all(doc.trace[-1] <= doc.trace[0] for doc in relaxations)  # how far in so few steps, last digits decide
    asked = [(doc.walker, doc.step, doc.atom) for doc in campaign.substructures()]
    assert len(set(asked)) == len(asked)  # what was labelled does not trigger again

    run(tmp_path / "parts", max_rounds=3)
    again, _ = run(tmp_path / "parts")
    assert again.learner == state.learner  # by the hashes of its files
    assert again.walkers == state.walkers


def test_files_of_either_kind_are_recognised(tmp_path: Path) -> None:
    path = UncertaintyModel.fit([tiny.frame()], SOAP(["Cu"], 3.0, 2, 2, 0.3)).save(tmp_path / "soap.npz")
    assert isinstance(load_uncertainty(path), UncertaintyModel)
    for name, content in (("empty", b""), ("foreign", b"PK nothing")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ArtifactError, match=name):
            load_uncertainty(tmp_path / name)


def test_a_force_field_without_atomic_energies_is_refused_before_any_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Whole(LocalForceField):
        """Tells the energies of frames alone."""

        name = "whole"
        atomic_energies = None

    monkeypatch.setitem(FORCE_FIELDS.registered, "whole", None)  # put back afterwards
    register_force_field("whole", Whole)
    made = tiny.maker(tmp_path, bootstrap={**COMMITTEE, "force_field": "whole"})
    with pytest.raises(InputError, match=r"atomic_energies\(\), 'whole' has none"):
        check_campaign(made, tiny.frame())
    with pytest.raises(InputError, match="committee_size"):
        tiny.maker(tmp_path, bootstrap={**COMMITTEE, "committee_size": 1})


def test_a_committee_of_pretrained_models_that_know_more_species(tmp_path: Path) -> None:
    weights = Path(__file__).parents[1] / "fixtures" / "sevennet" / "small.pth"
    bootstrap = {**COMMITTEE, "pretrained": str(weights), "anchor": 2, "fit_steps": 8}
    bootstrap["force_field_settings"] = {"fit_learning_rate": 0.01}
    _, campaign = tiny.run(tmp_path / "run", max_rounds=2, bootstrap=bootstrap, evaluation={"n_frames": 0})
    state = campaign.state()
    committee = load_uncertainty(ArtifactStore(state.artifacts).get(state.learner.uncertainty))
    assert isinstance(committee, CommitteeUncertainty)
    assert [(member.name, set(member.species)) for member in committee.members] == [("sevennet", {"Al", "Cu"})] * 2
    assert committee.species == ("Cu",)
    energies = [member.atomic_energies()(tiny.frame()) for member in committee.members]
    assert not np.allclose(*energies)
    frozen = tiny.maker(tmp_path / "no", bootstrap={**bootstrap, "freeze": ["*"]})
    with pytest.raises(InputError, match=r"bootstrap\.uncertainty: all parameters are frozen"):
        check_campaign(frozen, tiny.frame())
