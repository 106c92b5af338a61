"""Labels that an update refused, in a campaign that is changed, carried on, or asked for the same atom again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from idealflow.provenance import Campaign
from idealflow.storage import ArtifactStore
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.learner.guard import Guard
from idealflow.workflow.learner.ledger import Ledger, fetch_structures
from idealflow.workflow.stages import consolidate, update
from support import tiny
from support.labelled_cells import distorted, labelled
from support.other_method import by_lennard_jones, ledger_of

UPDATE = {
    "n_steps": 5, "n_replay": 3, "n_validation": 2, "max_steps": 5, "consolidation_steps": 10, "consolidation_share": 5.0,
    "mask_shell_forces": True,
}  # fmt: skip
SHORT: dict[str, Any] = {"update": UPDATE, "evaluation": {"n_frames": 0}, "segment": {"schedule": tiny.schedule(5, 35)}}


class Refusing(Guard):
    """Lets no update pass."""

    def objection(self, *_: np.ndarray) -> str | None:
        return "no"


def run_until_refused(folder: Path, **changes: Any) -> Ledger:
    """Run a campaign up to its first update with labels, which is refused; what it has learned then."""

    def stop(state: Any) -> None:
        if state.n_rejected_updates:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(update, "Guard", Refusing)
        with pytest.raises(KeyboardInterrupt):
            tiny.run(folder, on_round=stop, **SHORT | changes)
    CampaignDirectory(folder).write_config({"structure": "frame", **tiny.settings(**SHORT | changes)})
    ledger = ledger_of(Campaign(tiny.sqlite(folder), "tiny").state())
    assert ledger.waiting
    return ledger


@pytest.fixture
def helpful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every consolidation helps."""
    monkeypatch.setattr(consolidate, "judged", lambda *_: (True, "told so"))


@pytest.mark.usefixtures("helpful")
@pytest.mark.parametrize("other_cell", [True, False])
def test_an_atom_that_is_asked_for_again_is_learned_once_for_each_cell(other_cell: bool, tmp_path: Path) -> None:
    """Changed settings lift the quarantine, so that the present frame asks again; another cell has a key with its round."""
    waiting = run_until_refused(tmp_path).waiting
    slower = {"labeller": {"calculator": tiny.EMT, "reference": "EMT", "time_limit_s": 7.0}}  # gives the same labels
    labelled_cells = Campaign(tiny.sqlite(tmp_path), "tiny").substructures()
    smaller = {
        "max_atoms": min(doc.n_atoms for doc in labelled_cells) - 1
    }  # which cell was taken hangs on the processor
    state, campaign = tiny.run(tmp_path, **{"crop": smaller} if other_cell else {"label": slower}, **SHORT)
    docs = [doc for doc in campaign.updates()[1:] if any(key.startswith(tuple(waiting)) for key in doc.accepted)]
    asked = {key for doc in docs for key in doc.accepted if key.startswith(tuple(waiting))}
    assert {doc.decision for doc in docs} == {"accepted"}
    assert {key.count("/r") for key in asked} == {int(other_cell)}
    ledger = ledger_of(state)
    learned = [key for doc in [*campaign.updates(), *campaign.consolidations()] for key in doc.learned]
    assert len(set(ledger.keys)) == len(ledger.keys)
    assert len(set(learned)) == len(learned)
    assert asked | set(waiting) <= set(ledger.keys)
    assert len({doc.geometry_key for doc in campaign.substructures()}) == len(
        {doc.request_key for doc in campaign.substructures()}
    )


@pytest.mark.usefixtures("helpful")
def test_a_blow_up_whose_update_was_refused_is_consolidated_before_it_is_met_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "Guard", Refusing)
    hot = {"schedule": tiny.schedule(100, 0), "segment_steps": 100, "sampler": {"name": "nve", "timestep": 60.0}}

    def stop(state: Any) -> None:
        if state.n_consolidations:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path, on_round=stop, **SHORT | {"segment": hot})
    campaign = Campaign(tiny.sqlite(tmp_path), "tiny")
    blown = campaign.segments()[-1]
    refused, consolidation = campaign.updates()[-1], campaign.consolidations()[-1]
    assert (blown.reason, refused.decision, consolidation.decision) == ("blow_up", "rejected", "accepted")
    assert [refused.round, consolidation.round] == [blown.round, blown.round + 1]
    assert set(refused.accepted) <= set(consolidation.learned)
    walker = campaign.state().walkers[0]
    assert (walker.step, walker.failed) == (blown.last_step, False)


@pytest.mark.usefixtures("helpful")
def test_a_campaign_that_carries_on_learns_what_waited(tmp_path: Path) -> None:
    earlier = run_until_refused(tmp_path / "a")
    state, campaign = tiny.run(
        tmp_path / "b", campaign="onward", **SHORT | {"bootstrap": {"campaign": str(tmp_path / "a")}}
    )
    assert state.status == "finished"
    assert campaign.bootstrap().n_structures == len(earlier) + len(earlier.waiting)
    assert any(doc.decision == "accepted" for doc in campaign.consolidations())
    ledger = ledger_of(state)
    assert np.isfinite(np.array(ledger.errors)[:, :2]).all()
    assert ledger.waiting == []


def test_a_campaign_that_carries_on_knows_the_cores_of_substructures(tmp_path: Path) -> None:
    earlier = run_until_refused(tmp_path / "a")
    cores = {doc.request_key: doc.core for doc in Campaign(tiny.sqlite(tmp_path / "a"), "tiny").substructures()}
    state, campaign = tiny.run(
        tmp_path / "b", campaign="onward", max_rounds=1, **SHORT | {"bootstrap": {"campaign": str(tmp_path / "a")}}
    )
    ledger, store = ledger_of(state), ArtifactStore(state.artifacts)
    keys = [*earlier.keys, *earlier.waiting]
    masked = fetch_structures(campaign.store, store, ledger.keys[: len(keys)], core_forces=True)
    for key, atoms in zip(keys, masked, strict=True):
        weight = atoms.arrays.get("force_weight")
        assert (None if weight is None else np.flatnonzero(weight).tolist()) == cores.get(key)
    assert not any("force_weight" in atoms.arrays for atoms in fetch_structures(campaign.store, store, ledger.keys))
    assert not any("force_weight" in atoms.arrays for atoms in campaign.dataset())


@pytest.mark.usefixtures("helpful")
def test_what_waits_is_learned_only_if_the_present_method_made_it(tmp_path: Path) -> None:
    """Nothing else by the former method was learned: the first model is of a dataset."""
    crystal = bulk("Cu", cubic=True, a=3.62).repeat(2)
    write(tmp_path / "cells.extxyz", [labelled(distorted(crystal, 0.05, 0.01, seed)) for seed in range(8)])
    first = {"bootstrap": {"dataset": str(tmp_path / "cells.extxyz"), "dataset_check": 0, "seeds": None}}
    waiting = run_until_refused(tmp_path / "a", **first).waiting
    soon = SHORT | first | {"update": UPDATE | {"consolidate_every": 1}, "max_rounds": 1}
    state, campaign = tiny.run(tmp_path / "a", label=by_lennard_jones("leave_out"), **soon)
    (doc,) = campaign.consolidations()
    assert (doc.decision, doc.learned, ledger_of(state).waiting) == ("accepted", [], waiting)
