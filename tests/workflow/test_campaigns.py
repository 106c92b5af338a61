"""Whole campaigns: every way to begin, to embed, to change one's mind, and to go wrong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from idealflow import cli
from idealflow.analysis.calibration import threshold_for_error
from idealflow.core.dynamics import MDState
from idealflow.errors import IdealflowError
from idealflow.forcefields import load_force_field
from idealflow.provenance import CampaignChain
from idealflow.report import summarise, summary_text
from idealflow.schemas import CampaignState
from idealflow.storage import ArtifactStore
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.frames.encode import labelled_atoms, load_frame, to_atoms
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.learner.version import load_uncertainty_artifact
from support import tiny

NO_EVALUATION = {"evaluation": {"n_frames": 0}}


def short(hold: int = 0, ramp: int = 30, **changes: Any) -> dict[str, Any]:
    """A schedule that triggers within few steps, without the final evaluation."""
    stages = tiny.schedule(hold, ramp)[0 if hold else 1 :]
    return {"segment": {"schedule": stages, **changes}, **NO_EVALUATION}


def hashes(state: CampaignState) -> list[str]:
    learner = state.learner
    assert learner is not None
    return [learner.force_field.sha256, learner.uncertainty.sha256, learner.ledger.sha256]


def test_the_finished_campaign_counts_what_it_stored(finished: Any) -> None:
    state, campaign = finished.state, finished.campaign
    accepted = campaign.substructures(state="accepted")
    assert state.status == "finished"
    assert state.n_substructures == len(accepted) > 2
    assert state.n_labelled_frames == len({(doc.walker, doc.step) for doc in accepted})
    assert state.n_bootstrap_labels == len(campaign.labels(origin="bootstrap")) == 8
    assert [entry.round for entry in finished.states] == list(range(1, state.round + 1))
    assert state.learner.version == sum(doc.version_after != doc.version_before for doc in campaign.updates())
    assert state.label_seconds == pytest.approx(sum(doc.seconds for doc in accepted))
    assert state.wall_s > 0


def test_md_of_the_campaign_is_one_unbroken_walk(finished: Any) -> None:
    segments = finished.campaign.segments()
    for before, after in pairwise(segments):
        assert after.start_state == before.end_state
        assert after.first_step == before.last_step
    assert segments[-1].last_step == 60
    table = finished.campaign.log()
    assert table["step"].tolist() == list(range(0, 61, 5))  # a row a screened frame
    assert (table["temperature"] > 0).all()
    assert table["target"].iloc[-1] == pytest.approx(2000)


def test_a_labelled_environment_does_not_trigger_again(finished: Any) -> None:
    """No atom of a frame is asked for twice: labelled centres are covered from then on."""
    asked = [(doc.walker, doc.step, doc.atom) for doc in finished.campaign.substructures()]
    assert len(set(asked)) == len(asked)


def test_inference_only_is_plain_md_whatever_the_segments(tmp_path: Path) -> None:
    ends = []
    for steps in (20, 60):
        folder = tmp_path / str(steps)
        changes = {"segment": {"segment_steps": steps}, **NO_EVALUATION}
        state, campaign = tiny.run(folder, learn=False, **changes)
        assert state.status == "finished"
        assert (state.n_substructures, state.learner.version) == (0, 0)
        assert campaign.screens() == campaign.updates() == campaign.substructures() == []
        assert len(campaign.segments()) == 60 // steps
        log = campaign.log()
        assert log["max_uncertainty"].isna().all()
        ends.append((state.walkers[0].md_state.sha256, log["temperature"].tolist()))
    assert ends[0] == ends[1]


def test_a_run_without_learning_tells_what_the_model_does_not_know(finished: Any, tmp_path: Path) -> None:
    # a first model that is good at 300 K after a fit of 60 steps
    small = {"force_field_settings": {"cutoff": 4.0, "hidden": [8], "n_radial": 8}}
    state, campaign = tiny.run(tmp_path / "hot", learn=False, bootstrap=small, **NO_EVALUATION)
    hot = [doc for doc in campaign.segments() if doc.unknown is not None]
    assert [doc.last_step for doc in hot] == [40, 60]  # not the one at 300 K
    u = load_uncertainty_artifact(ArtifactStore(state.artifacts), state.learner)
    for doc in hot:  # the oracle: the frame's values and coverage, one after the other
        atoms = MDState.load(ArtifactStore(state.artifacts).get(doc.end_state)).atoms()
        above = (u(atoms) > state.threshold) & ~u.covered(atoms, state.threshold)
        assert (doc.unknown.n_atoms, doc.unknown.of) == (above.sum(), 107)
        assert doc.unknown.max_uncertainty == pytest.approx(u(atoms).max())
    told = [note for note in state.notes if "unlike anything the model has learned" in note]
    assert told == [hot[0].unknown.told(0, 40)]  # once, however long the run
    assert told[0] in summary_text(summarise(campaign))
    cold, _ = tiny.run(tmp_path / "cold", learn=False, bootstrap=small, **short(20, 0))
    assert cold.notes == []
    assert all(doc.unknown is None for doc in finished.campaign.segments())


def test_inference_md_is_driven_by_the_stored_model(tmp_path: Path) -> None:
    state, campaign = tiny.run(tmp_path, learn=False, **short(5, 0))
    artifacts = ArtifactStore(state.artifacts)
    segment = campaign.segments()[0]
    atoms = MDState.load(artifacts.get(segment.end_state)).atoms()
    atoms.calc = load_force_field(artifacts.get(state.learner.force_field)).calculator()
    assert atoms.get_potential_energy() == pytest.approx(segment.log["potential_energy"][-1], abs=1e-9)


@pytest.mark.parametrize("embedding", ["crop", "vacuum", "frame"])
def test_embeddings_label_what_they_say(embedding: str, tmp_path: Path) -> None:
    state, campaign = tiny.run(tmp_path, embedding=embedding, **short())
    assert state.status == "finished"
    docs = campaign.substructures(state="accepted")
    assert docs
    for doc in docs:
        lineage = campaign.lineage(doc.uuid)
        frame = load_frame(ArtifactStore(state.artifacts), lineage.segment.frame)
        atoms = to_atoms(doc.structure)
        assert (doc.embedding, lineage.relaxation.reason, lineage.relaxation.trace) == (embedding, "unchanged", [])
        core, parents = np.asarray(doc.core), np.asarray(doc.parent_indices)
        np.testing.assert_allclose(
            atoms.get_distances(doc.centre, core, mic=True),
            frame.get_distances(doc.atom, parents[core], mic=True),
            atol=1e-9,
        )
        if embedding == "frame":
            np.testing.assert_array_equal(atoms.numbers, frame.numbers)
            np.testing.assert_allclose(atoms.cell, frame.cell)
        if embedding == "vacuum":
            assert len(atoms) < len(frame) / 2
            nearest = atoms.get_all_distances(mic=True)
            np.testing.assert_allclose(nearest, atoms.get_all_distances(mic=False), atol=1e-9)  # no image within reach
        if embedding == "crop":
            assert len(atoms) <= 90
            assert atoms.pbc.all()
            assert lineage.crop.chosen[doc.attempt].positions == doc.structure.positions


def test_two_walkers_share_one_learner(tmp_path: Path) -> None:
    state, campaign = tiny.run(tmp_path, n_walkers=2, **short())
    assert state.status == "finished"
    assert [walker.step for walker in state.walkers] == [30, 30]
    assert len({walker.md_state.sha256 for walker in state.walkers}) == 2
    docs = campaign.substructures(state="accepted")
    assert {doc.walker for doc in docs} == {0, 1}
    assert state.n_labelled_frames == len({(doc.walker, doc.step) for doc in docs})
    for update in campaign.updates():
        assert update.accepted == sorted(update.accepted)
    assert any(len({key.split("/")[1] for key in update.accepted}) == 2 for update in campaign.updates())
    temperatures = [campaign.log().query(f"walker == {number}")["temperature"].tolist() for number in (0, 1)]
    assert temperatures[0] != temperatures[1]


def test_bootstrap_from_an_exported_dataset(finished: Any, tmp_path: Path) -> None:
    dataset = tmp_path / "labels.extxyz"
    assert cli.main(["export", str(finished.folder), str(dataset)]) == 0
    bootstrap = {"seeds": None, "dataset": str(dataset)}
    state, campaign = tiny.run(tmp_path / "out", campaign="again", bootstrap=bootstrap, threshold=2.0, **short())
    doc = campaign.bootstrap()
    assert (doc.source, doc.n_labelled_here) == ("dataset", 2)  # by which it is checked
    given, labelled = read(dataset, index=":"), campaign.dataset()
    assert len(labelled) == len(given) + len(campaign.substructures(state="accepted"))
    for one, other in zip(given, labelled, strict=False):
        assert other.info["origin"] == "dataset"
        assert np.array_equal(one.get_forces(), other.get_forces())
    assert len(campaign.dataset(bootstrap=False)) == len(labelled) - len(given)
    assert doc.n_structures == 8 + finished.state.n_substructures
    assert campaign.labels(origin="bootstrap") == []
    assert (state.n_bootstrap_labels, len(campaign.labels(origin="check"))) == (0, 2)
    assert f" {doc.n_structures} from the dataset, 0 failed" in summary_text(summarise(campaign))
    assert campaign.labels_by_method().get(tiny.REFERENCE, 0) == state.n_substructures  # none of the check
    assert state.status == "finished"
    assert any(key.startswith("dataset:") for update in campaign.updates() for key in update.replayed)


def test_bootstrap_from_an_earlier_campaign_carries_everything_on(finished: Any, tmp_path: Path) -> None:
    state, campaign = tiny.run(
        tmp_path, campaign="onward", bootstrap={"campaign": str(finished.folder)}, threshold=16.0, **short(10, 20)
    )
    assert state.status == "finished"
    assert campaign.bootstrap().source == "campaign"
    earlier = finished.state.learner
    assert state.first_learner.force_field.sha256 == earlier.force_field.sha256
    ours = tiny.known_by(state.first_learner, state.artifacts, tmp_path / "ours")
    assert ours == tiny.known_by(earlier, finished.state.artifacts, tmp_path / "theirs")
    assert campaign.bootstrap().n_structures == 8 + finished.state.n_substructures
    assert finished.campaign.state() == finished.state  # and the earlier one is as it was

    chain = CampaignChain([finished.campaign, campaign])
    ancestry = chain.ancestry().to_dict("records")
    assert [row["begins_with"] for row in ancestry] == ["", "tiny"]
    assert [row["n_carried_labels"] for row in ancestry] == [0, 8 + finished.state.n_substructures]
    assert [row["n_own_labels"] for row in ancestry] == [8 + finished.state.n_substructures, state.n_substructures]
    assert [row["chain_time_fs"] for row in ancestry] == [0.0, 120.0]  # 60 steps of 2 fs
    table, log = chain.table(), chain.log()
    assert len(table) == sum(len(each.substructures()) for each in chain)
    ours = table[table["campaign"] == "onward"]
    assert ours["chain_time_fs"].tolist() == [120.0 + 2.0 * doc.step for doc in campaign.substructures()]
    assert log["chain_time_fs"].is_monotonic_increasing
    assert log.groupby("campaign", sort=False)["chain_time_fs"].agg(["min", "max"]).to_numpy().tolist() == [
        [0.0, 120.0],
        [120.0, 180.0],
    ]
    for made, version in ((chain.first_model(), finished.campaign.model(0)), (chain.last_model(), campaign.model())):
        assert calculated(made) == calculated(version)
    assert calculated(chain.first_model()) != calculated(chain.last_model())
    with pytest.raises(IdealflowError, match=r"has models 0 to \d+, got 99; choose one"):
        campaign.model(99)


def calculated(force_field: Any) -> float:
    atoms = tiny.frame()
    atoms.calc = force_field.calculator()
    return float(atoms.get_potential_energy())


def test_a_chain_is_found_from_its_last_folder(finished: Any, tmp_path: Path) -> None:
    def campaign(name: str, before: str | None) -> Path:
        folder = tiny.copied(finished.folder, tmp_path / name)
        settings = tiny.settings() | ({"bootstrap": {"campaign": before}} if before else {})
        CampaignDirectory(folder).write_config({"structure": "frame", **settings})
        return folder

    first = campaign("first", None)
    last = campaign("last", str(first))
    with pytest.raises(IdealflowError, match="two are called 'tiny'"):  # which shows that both were found
        CampaignChain.open(last)
    first.rename(tmp_path / "elsewhere")
    with pytest.raises(IdealflowError, match="first holds no campaign"):
        CampaignChain.open(last)
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "elsewhere").rename(moved / "first")
    last.rename(moved / "last")
    with pytest.raises(IdealflowError, match="two are called 'tiny'"):
        CampaignChain.open(moved / "last")
    assert [each.name for each in CampaignChain.open(moved / "first")] == ["tiny"]
    with pytest.raises(IdealflowError, match="begins with itself"):
        CampaignChain.open(campaign("itself", str(tmp_path / "itself")))
    with pytest.raises(IdealflowError, match="at least one campaign"):
        CampaignChain([])


def test_a_campaign_carried_on_keeps_its_uncertainty(finished: Any, tmp_path: Path) -> None:
    for number, asked in enumerate(({"uncertainty": "committee"}, {"uncertainty_settings": {"relative_cut": 1e-3}})):
        bootstrap = {"campaign": str(finished.folder), **asked}
        with pytest.raises(IdealflowError, match=r"carries on the uncertainty of .*'soap'.*leave uncertainty"):
            tiny.run(tmp_path / str(number), campaign="onward", bootstrap=bootstrap, **short(10, 20))


def test_changes_of_threshold_between_runs(finished: Any, tmp_path: Path) -> None:
    paused, _ = tiny.run(tmp_path, max_rounds=3)
    state, campaign = tiny.run(tmp_path, threshold=1e6)
    assert state.status == "finished"
    assert state.threshold == 1e6
    assert state.n_substructures == paused.n_substructures
    versions = {doc.threshold for doc in campaign.screens()}
    assert versions == {paused.threshold, 1e6}


def test_a_threshold_by_force_error_comes_from_stored_pairs(
    finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"force_error": 0.05}
    with pytest.raises(
        IdealflowError, match=r"force_error: 0.05.* at least 20 .* there are 0; run with `threshold: auto`"
    ):
        tiny.run(tmp_path / "new", threshold=wanted)
    _, campaign = tiny.run(tmp_path / "again", max_rounds=3)
    rows = campaign.calibration_rows(recompute=False)
    with pytest.raises(IdealflowError, match=rf"at least 20 .* there are {len(rows)};"):
        tiny.run(tmp_path / "again", threshold=wanted)
    monkeypatch.setattr("idealflow.analysis.calibration.FEWEST_PAIRS", len(rows))
    expected = threshold_for_error(
        [row["uncertainty"] for row in rows], [row["force_error"] for row in rows], wanted["force_error"]
    )
    state, _ = tiny.run(tmp_path / "again", threshold=wanted)
    assert (state.status, state.threshold) == ("finished", expected)
    onward = tiny.run(
        tmp_path / "onward",
        campaign="onward",
        bootstrap={"campaign": str(finished.folder)},
        threshold=wanted,
        **short(10, 20),
    )[0]
    pairs = finished.campaign.calibration_rows(recompute=False)
    assert onward.threshold == threshold_for_error(
        [row["uncertainty"] for row in pairs], [row["force_error"] for row in pairs], wanted["force_error"]
    )


def test_a_finished_campaign_grows_with_its_schedule(finished: Any, tmp_path: Path) -> None:
    """Run to the end of a short schedule, then of the whole one: what the whole one alone gives."""
    state, _ = tiny.run(tmp_path, segment={"schedule": tiny.schedule(20, 0)}, **NO_EVALUATION)
    assert (state.status, state.walkers[0].step) == ("finished", 20)
    state, campaign = tiny.run(tmp_path)
    assert state.status == "finished"
    assert hashes(state) == hashes(finished.state)
    assert campaign.evaluation() is not None
    assert [doc.request_key for doc in campaign.substructures()] == [
        doc.request_key for doc in finished.campaign.substructures()
    ]


def ni3al(repeat: int) -> Atoms:
    cell = bulk("Ni", "fcc", 3.57, cubic=True)
    cell.symbols[0] = "Al"
    return cell.repeat(repeat)


def test_two_species_from_a_file(tmp_path: Path) -> None:
    seed = tmp_path / "seed.cif"
    write(seed, ni3al(2))
    bootstrap = {"seeds": [str(seed)]}
    state, campaign = tiny.run(tmp_path / "out", atoms=ni3al(3), bootstrap=bootstrap, **short())
    assert state.status == "finished"
    docs = campaign.substructures(state="accepted")
    assert {doc.species for doc in docs} <= {"Al", "Ni"}
    assert docs
    for doc in docs:
        atoms = to_atoms(doc.structure)
        assert set(atoms.get_chemical_symbols()) == {"Al", "Ni"}
        assert atoms.get_chemical_symbols()[doc.centre] == doc.species
        frame = load_frame(ArtifactStore(state.artifacts), campaign.lineage(doc.uuid).segment.frame)
        assert atoms.get_chemical_symbols() == [frame.get_chemical_symbols()[i] for i in doc.parent_indices]
        assert abs((atoms.numbers == 13).mean() - 0.25) < 0.12
    assert set(campaign.updates()[-1].n_samples) == {"Al", "Ni"}


def test_a_rejected_update_keeps_the_model_and_quarantines(tmp_path: Path) -> None:
    update = {
        "learning_rate": 100.0,
        "reject_factor": 1.01,
        "n_steps": 5,
        "n_replay": 3,
        "n_validation": 2,
        "consolidate_every": 0,
    }
    state, campaign = tiny.run(tmp_path, update=update, **short(0, 20))
    store, waiting = ArtifactStore(state.artifacts), []
    rejected = [doc for doc in campaign.updates() if doc.decision == "rejected"]
    assert state.status == "finished"
    assert len(rejected) == state.n_rejected_updates > 0
    for doc in rejected:
        assert doc.learned == []
        assert doc.quarantined == doc.accepted
        assert doc.learner.force_field == state.first_learner.force_field
        waiting += doc.accepted  # for a consolidation, of which there is none here
        ledger, first = (Ledger.load(store, learner.ledger) for learner in (doc.learner, state.first_learner))
        assert (ledger.keys, ledger.waiting) == (first.keys, waiting)
        assert doc.reason
        for key in doc.accepted:
            lineage = campaign.lineage(campaign.substructures(request_key=key)[0].uuid)
            assert (lineage.update, lineage.version_after) == (None, None)
    assert state.learner.force_field == state.first_learner.force_field
    asked = [(doc.walker, doc.step, doc.atom) for doc in campaign.substructures()]
    assert len(set(asked)) == len(asked)  # quarantined centres do not trigger again


@pytest.mark.parametrize(
    ("segment", "message"),
    [({"max_temperature": 301.0}, "temperature"), ({"sampler": {"name": "nve", "timestep": 60.0}}, "")],
)
def test_blow_ups_in_a_row_fail_the_campaign_with_the_reason(
    segment: dict[str, Any], message: str, tmp_path: Path
) -> None:
    changes = {"schedule": tiny.schedule(100, 0), "segment_steps": 100, **segment}
    state, campaign = tiny.run(tmp_path, segment=changes, **NO_EVALUATION)
    assert state.status == "failed"
    assert "blow-up 6 in a row of walker 0" in state.reason
    assert "shorten the time step" in state.reason
    blown = [doc for doc in campaign.segments() if doc.reason == "blow_up"]
    assert len({doc.last_step for doc in blown[-6:]}) == 1
    assert len(blown) >= 6
    assert message in blown[-1].detail
    assert blown[-1].detail in state.reason
    first = blown[-6]
    assert campaign.substructures(segment_uuid=first.uuid)  # labelled before the walker went back
    assert first.frame_step >= first.last_step
    again, _ = tiny.run(tmp_path, segment=changes, **NO_EVALUATION)
    assert again == state


def test_forces_that_a_label_has_are_no_blow_up(tmp_path: Path) -> None:
    """The atom that is pulled most is labelled; where the reference pulls it as much, the dynamics goes on."""
    changes = {"schedule": tiny.schedule(40, 0), "segment_steps": 100, "max_force": 0.5}
    state, campaign = tiny.run(tmp_path, segment=changes, **NO_EVALUATION)
    assert state.status == "finished", state.reason
    blown = [doc for doc in campaign.segments() if doc.reason == "blow_up"]
    assert blown
    asked = campaign.substructures(segment_uuid=blown[0].uuid)
    assert blown[0].pulled in [doc.atom for doc in asked]
    of_cores = [
        np.linalg.norm(labelled_atoms(doc).get_forces()[doc.core], axis=1).max() for doc in campaign.substructures()
    ]
    assert state.learner.largest_force == max(of_cores)
    assert 1.5 * state.learner.largest_force > 0.5
