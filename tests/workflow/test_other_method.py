"""Labels of another method: refused unasked, kept, left out, or labelled again; and labels of 0.1.0 made without vacuum."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from jobflow import Flow
from monty.json import MontyEncoder

from idealflow import Campaign, cli
from idealflow.errors import InputError
from idealflow.forcefields import load_force_field
from idealflow.report import summarise, summary_text
from idealflow.schemas import RelabelDoc
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.state import after_relabel, next_action
from idealflow.workflow.config.load import kept_maker
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.frames.encode import labelled_atoms, to_atoms
from idealflow.workflow.labellers import AseLabeller
from idealflow.workflow.stages import relabel
from support import tiny
from support.other_method import HOT, LJ, NAME, by_lennard_jones, ledger_of

STORED = Path(__file__).parents[1] / "fixtures" / "version-0.1.0"


def test_another_method_is_refused_unasked_and_the_three_choices_are_named(folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        tiny.run(folder, label=by_lennard_jones(None), **HOT)
    text = str(caught.value)
    assert f"by {tiny.REFERENCE}" in text
    assert NAME in text
    assert all(word in text for word in ("label.other_method", "keep", "leave_out", "relabel"))


def test_another_name_or_time_limit_is_no_other_method(folder: Path) -> None:
    label = {"labeller": {"calculator": tiny.EMT, "reference": "EMT again", "time_limit_s": 77}}
    state, _ = tiny.run(folder, label=label, max_rounds=1, **HOT)
    assert (state.other_method, state.sort_labels) == (None, None)


def test_keep_trains_on_both(folder: Path) -> None:
    before = Campaign(tiny.sqlite(folder), "tiny").state()
    state, campaign = tiny.run(folder, label=by_lennard_jones("keep"), max_rounds=1, **HOT)
    assert state.other_method == "keep"
    assert campaign.relabellings() == []
    keys = ledger_of(state).keys
    assert set(ledger_of(before).keys) <= set(keys)
    # and the config has to go on saying so
    with pytest.raises(InputError, match=r"label\.other_method"):
        tiny.run(folder, label=by_lennard_jones(None), max_rounds=1, **HOT)


def test_leave_out_takes_the_others_from_training_and_back_again(folder: Path, tmp_path: Path) -> None:
    before = Campaign(tiny.sqlite(folder), "tiny").state()
    learned = set(ledger_of(before).keys)
    state, campaign = tiny.run(folder, label=by_lennard_jones("leave_out"), max_rounds=1, **HOT)
    assert set(ledger_of(state).left_out) == learned
    assert ledger_of(state).keys == []
    # nothing else is known yet, and what was met was met
    assert state.learner.force_field == before.learner.force_field
    known = [tiny.known_by(each.learner, each.artifacts, tmp_path / "known") for each in (before, state)]
    assert known[0] == known[1]
    state, campaign = tiny.run(folder, label=by_lennard_jones("leave_out"), max_rounds=1, **HOT)
    assert {key for update in campaign.updates() for key in update.replayed if update.round > before.round} == set()
    assert {atoms.info["request_key"] for atoms in campaign.dataset()} == set(ledger_of(state).keys)
    assert campaign.labels_by_method() == ({NAME: len(ledger_of(state))} if len(ledger_of(state)) else {})
    # the first method is back: its labels are used again, the others are left out now
    own = set(ledger_of(state).keys)
    label = tiny.settings()["label"] | {"other_method": "leave_out"}
    state, campaign = tiny.run(folder, label=label, max_rounds=1, **HOT)
    assert set(ledger_of(state).keys) == learned
    assert set(ledger_of(state).left_out) == own
    assert campaign.relabellings()[-1].refitted
    # no dataset mixes what training does not
    assert {atoms.info["request_key"] for atoms in campaign.dataset()} == learned
    assert {atoms.info["method"] for atoms in campaign.dataset()} == {tiny.REFERENCE}
    assert campaign.labels_by_method() == {tiny.REFERENCE: len(learned)}


def test_labels_that_no_model_learned_are_left_out_of_the_dataset_with_their_method(folder: Path) -> None:
    """An update that was rejected leaves labels that are in no ledger."""
    store = tiny.sqlite(folder).docs_store
    extra = store.query_one({"output.kind": "substructure", "output.state": "accepted"})
    extra = {key: value for key, value in extra.items() if key != "_id"} | {"uuid": "rejected"}
    extra["output"] |= {"request_key": "tiny/rejected", "uuid": "rejected"}
    store.update([extra], key=["uuid", "index"])
    before = Campaign(tiny.sqlite(folder), "tiny")
    assert "tiny/rejected" in {atoms.info["request_key"] for atoms in before.dataset()}
    assert before.labels_by_method() == {tiny.REFERENCE: len(ledger_of(before.state())) + 1}
    _, campaign = tiny.run(folder, label=by_lennard_jones("leave_out"), max_rounds=1, **HOT)
    assert campaign.dataset() == []
    assert campaign.labels_by_method() == {}


def test_relabel_labels_every_structure_once_and_fits_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted and taken up again; each new label is the calculator's own, each old one stays in the store."""
    computed: list[int] = []
    whole = AseLabeller.label

    def label(self: AseLabeller, atoms: Atoms, directory: Path) -> Any:
        if len(computed) == 3 and interrupt:
            raise KeyboardInterrupt
        computed.append(len(atoms))
        return whole(self, atoms, directory)

    monkeypatch.setattr(AseLabeller, "label", label)
    interrupt = True
    before = Campaign(tiny.sqlite(folder), "tiny").state()
    old = {atoms.info["request_key"]: atoms for atoms in Campaign(tiny.sqlite(folder), "tiny").dataset()}
    learned = ledger_of(before)
    assert set(old) == set(learned.keys)
    with pytest.raises(KeyboardInterrupt):
        tiny.run(folder, label=by_lennard_jones("relabel"), max_rounds=1, **HOT)
    interrupt = False
    asked: list[str] = []
    monkeypatch.setattr(
        relabel, "Flow", lambda *a, **k: asked.append(json.dumps(made := Flow(*a, **k), cls=MontyEncoder)) or made
    )
    state, campaign = tiny.run(folder, label=by_lennard_jones("relabel"), max_rounds=1, **HOT)
    assert len(computed) == len(old)
    assert [text for text in asked if "relabel-label" in text]
    assert not [text for text in asked if '"positions"' in text]  # structures go as files

    (doc,) = campaign.relabellings()
    assert set(doc.relabelled) == set(old)
    assert (doc.left_out, doc.failed, doc.refitted) == ([], {}, True)
    now = ledger_of(state)
    assert now.keys == [doc.relabelled[key] for key in learned.keys]
    assert now.held_out == learned.held_out
    new = campaign.labels(origin="relabelled")
    for one in new:
        atoms = to_atoms(one.structure)
        assert np.array_equal(atoms.positions, old[one.replaces].positions)
        atoms.calc = LennardJones(**LJ)
        assert one.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(one.forces, atoms.get_forces(), atol=1e-9)
    artifacts = ArtifactStore(state.artifacts)
    errors = [
        load_force_field(artifacts.get(version.force_field)).errors([labelled_atoms(one) for one in new])[:, 1].mean()
        for version in (before.learner, state.learner)
    ]
    assert errors[1] < 0.5 * errors[0]
    known = [tiny.known_by(each.learner, each.artifacts, tmp_path / "known") for each in (before, state)]
    assert known[0] == known[1]
    assert {atoms.info["method"] for atoms in campaign.dataset()} == {NAME}
    assert {one.method for one in campaign.labels(origin="bootstrap")} == {tiny.REFERENCE}
    assert (state.sort_labels, summarise(campaign)["other_method"]) == (None, "relabel")

    again, campaign = tiny.run(folder, label=by_lennard_jones("relabel"), max_rounds=1, **HOT)
    assert len(campaign.relabellings()) == 1  # done is done
    assert again.round == state.round + 1
    # back to the first method: its labels are in the store, and cost nothing
    n_computed, n_other = len(computed), len(ledger_of(again).keys) - len(old)
    label_ = tiny.settings()["label"] | {"other_method": "relabel"}
    tiny.run(folder, label=label_, max_rounds=1, **HOT)
    assert len(computed) - n_computed == n_other


def test_new_labels_that_fail_are_left_out_with_their_cause(folder: Path) -> None:
    label = {"labeller": {"calculator": "support.failing_calculators.Never"}, "other_method": "relabel"}
    state, campaign = tiny.run(folder, label=label, max_rounds=1, max_failed_fraction=None, **HOT)
    (doc,) = campaign.relabellings()
    large = {key for key, atoms in dataset_by_key(campaign).items() if len(atoms) > 32}
    assert set(doc.failed) == set(doc.left_out) == large
    assert all("MemoryError" in cause for cause in doc.failed.values())
    assert state.n_failed_labels == len(large) > 0
    assert set(ledger_of(state).left_out) == large
    again = summarise(campaign)["labelled_again"]
    assert (again["n"], again["n_failed"]) == (len(doc.relabelled), len(large))
    assert f"{again['n']} were labelled again, {len(large)} failed and are left out (" in summary_text(
        summarise(campaign)
    )


def test_new_labels_that_all_fail_end_the_campaign_with_their_causes_and_leave_the_model(folder: Path) -> None:
    """And the same command tries again, now that the labeller works; the whole-frame comparison is made anew."""
    switch = folder / "works"
    calculator = {"calculator": "support.failing_calculators.Switched", "kwargs": {"switch": str(switch)}}
    changes = HOT | {"label": {"labeller": calculator, "other_method": "relabel"}}
    before = Campaign(tiny.sqlite(folder), "tiny").state()
    n = len(ledger_of(before))
    state, campaign = tiny.run(folder, max_failed_fraction=None, **changes)
    (doc,) = campaign.relabellings()
    assert state.learner == before.learner == doc.learner
    assert (len(doc.failed), doc.relabelled, doc.refitted) == (n, {}, False)
    assert state.status == "failed"
    assert f"none of {n} learned labels could be made again by Switched: {n}× " in state.reason
    assert "licence" in state.reason
    summary = summarise(campaign)
    (cause,) = set(doc.failed.values())
    assert summary["labelled_again"] == {"n": 0, "n_failed": n, "causes": {cause: n}, "refitted": False}
    assert f"none was labelled again, {n} failed ({n}× {cause}); the model is as before" in summary_text(summary)

    switch.touch()
    state, campaign = tiny.run(folder, max_failed_fraction=None, max_rounds=1, **changes)
    assert len(campaign.relabellings()) == 2
    assert (state.status, state.sort_labels) == ("paused", None)
    assert state.learner.version == before.learner.version + 1
    assert len(ledger_of(state)) == n
    assert f"{n} were labelled again; the model was fitted anew" in summary_text(summarise(campaign))


@pytest.mark.parametrize("other_method", ["relabel", "leave_out"])
def test_the_comparison_of_a_finished_campaign_is_made_anew(other_method: str, finished: Any, tmp_path: Path) -> None:
    folder = tiny.copied(finished.folder, tmp_path / "copy")
    first = finished.campaign.evaluation()
    label = by_lennard_jones(other_method)
    paused, campaign = tiny.run(folder, label=label, max_rounds=1)
    assert (paused.status, paused.evaluated, next_action(paused.model_copy(update={"status": "running"})).kind) == (
        "paused", False, "evaluate",
    )  # fmt: skip
    assert f"of model version {first.last_version}, not of the present one" in summary_text(summarise(campaign))
    state, campaign = tiny.run(folder, label=label)
    second = campaign.evaluation()
    assert (state.status, state.evaluated) == ("finished", True)
    assert (second.method, second.last_version) == (NAME, state.learner.version)
    assert second.frames[0].energy_reference != first.frames[0].energy_reference
    assert "not of the present one" not in summary_text(summarise(campaign))


def dataset_by_key(campaign: Campaign) -> dict[str, Atoms]:
    docs = [*campaign.labels(origin="bootstrap"), *campaign.substructures(state="accepted")]
    return {doc.request_key: to_atoms(doc.structure) for doc in docs}


def test_sorting_comes_before_the_next_round_and_is_done_once(by_emt: Path) -> None:
    state = Campaign(tiny.sqlite(by_emt), "tiny").state()
    due = state.model_copy(update={"sort_labels": "relabel"})
    assert next_action(due).kind == "relabel"
    doc = RelabelDoc(
        campaign="tiny", round=due.round, choice="relabel", method="m", n_kept=1, left_out=["b"], relabelled={"a": "a/by"},
        failed={"b": "why"}, n_without_vacuum=0, refitted=True, errors=None, threshold=3.0, learner=due.learner, seconds=1.0,
    )  # fmt: skip
    after = after_relabel(due, doc, automatic=True)
    assert next_action(after).kind == "round"
    assert (after.round, after.threshold, after.n_failed_labels) == (due.round + 1, 3.0, state.n_failed_labels + 1)
    assert after.recent_failures[-2:] == [False, True]
    assert after_relabel(due, doc, automatic=False).threshold == state.threshold


# labels of 0.1.0 without vacuum


@pytest.fixture
def film(tmp_path: Path) -> Path:
    with tarfile.open(STORED / "film.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "film"


def run(folder: Path, *extra: str) -> int:
    return cli.main(["run", str(folder.with_suffix(".yaml")), "--out", str(folder), "--quiet", *extra])


def campaign_of(folder: Path) -> Campaign:
    directory = CampaignDirectory(folder)
    return Campaign(directory.job_store(), directory.campaign_name())


def test_status_marks_labels_without_vacuum_and_names_the_remedy(
    film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", str(film)]) == 0
    shown = capsys.readouterr().out
    assert "4 labels of version 0.1.0 were made without vacuum" in shown
    assert "label.other_method: relabel" in shown


def test_training_leaves_labels_without_vacuum_out(film: Path) -> None:
    assert run(film, "--max-rounds", "1") == 0
    campaign = campaign_of(film)
    (doc,) = campaign.relabellings()
    assert (doc.choice, doc.n_kept, len(doc.left_out), doc.n_without_vacuum) == ("leave_out", 0, 4, 4)
    assert campaign.state().n_without_vacuum == 4
    assert run(film, "--max-rounds", "1") == 0
    assert len(campaign.relabellings()) == 1


@pytest.mark.parametrize("other_method", [None, "keep"])
def test_labels_without_vacuum_of_an_interrupted_round_are_made_anew(film: Path, other_method: Any) -> None:
    """The settings are the same, the labels are not: a job that meets its own of version 0.1.0 does not take it."""
    docs = campaign_of(film).labels(state="accepted")
    made = kept_maker(film.with_suffix(".yaml")).label
    made.other_method = other_method
    assert docs
    for doc in docs:
        assert made.made(doc)
        assert not made.learnable(doc)
        assert not made.fits(doc, {"subject": doc.structure})
        closed = doc.model_copy(update={"structure": doc.structure.model_copy(update={"pbc": [True] * 3})})
        assert made.fits(closed, {"subject": closed.structure})


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")  # of spglib, under atomate2
def test_labels_without_vacuum_are_labelled_again_on_request(film: Path) -> None:
    config = film.with_suffix(".yaml")
    settings = yaml.safe_load(config.read_text())
    settings["label"]["other_method"] = "relabel"
    config.write_text(yaml.safe_dump(settings))
    assert run(film, "--max-rounds", "1") == 0
    campaign = campaign_of(film)
    (doc,) = campaign.relabellings()
    assert (doc.n_kept, doc.left_out, doc.n_without_vacuum, doc.refitted) == (4, [], 0, True)
    new = campaign.labels(origin="relabelled")
    assert all(one.reused_from is None and "-" in one.geometry_key for one in new)
    for one in new:
        atoms = to_atoms(one.structure)
        atoms.calc = EMT()
        assert one.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    assert campaign.state().n_without_vacuum == 0
    assert summarise(campaign)["n_labels_without_vacuum"] == 0
