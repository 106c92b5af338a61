"""The contract of every stage's Maker, shown on the stored inputs of a finished campaign."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from jobflow import Flow, Job, JobStore
from jobflow.managers.local import run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.io.ase import AseAtomsAdaptor

from idealflow import schemas
from idealflow.errors import CampaignError
from idealflow.labelling import geometry_key
from idealflow.schemas import (
    BootstrapDoc,
    CampaignState,
    ConsolidationDoc,
    CropDoc,
    EvaluationDoc,
    LabelledDoc,
    ModelUpdateDoc,
    RelaxationDoc,
    ScreenDoc,
    SegmentDoc,
    StageContext,
    SubstructureDoc,
)
from idealflow.workflow import AseLabeller, CropSearchMaker, IdealMaker, LabelMaker, StaticLabeller
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.campaign.state import next_action
from idealflow.workflow.frames.encode import to_atoms
from idealflow.workflow.jobs.keys import settings_key, stage_uuid
from idealflow.workflow.jobs.stage import named
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.stages.asked_again import key_at
from idealflow.workflow.stages.round_labels import collect, substructures_of
from support import tiny

KINDS = {
    "state": CampaignState, "segment": SegmentDoc, "screen": ScreenDoc, "crop": CropDoc, "relaxation": RelaxationDoc,
    "substructure": SubstructureDoc, "label": LabelledDoc, "update": ModelUpdateDoc, "bootstrap": BootstrapDoc,
    "evaluation": EvaluationDoc, "consolidation": ConsolidationDoc,
}  # fmt: skip


@dataclass
class Round:
    """The stored pieces of one round that labelled something, and a store of its own to repeat a stage in."""

    maker: IdealMaker
    context: StageContext
    before: CampaignState
    segment: SegmentDoc
    screen: ScreenDoc
    screen_uuid: str
    crop: CropDoc
    relaxation: RelaxationDoc
    substructure: SubstructureDoc
    update: ModelUpdateDoc
    store: JobStore

    def again(self, job: Job) -> dict[str, Any]:
        """Run one job in the round's own store; its output as JSON."""
        responses = run_locally(job, store=self.store, log=False, ensure_success=True, root_dir=self.context.work)
        return json.loads(json.dumps(responses[job.uuid][1].output, cls=MontyEncoder))


@pytest.fixture
def labelled(finished: Any, tmp_path: Path) -> Round:
    """The first round with a label; its store is empty, its artifacts are the campaign's."""
    campaign = finished.campaign
    lineage = campaign.lineage(campaign.substructures()[0].uuid)
    number = lineage.substructure.round
    return Round(
        maker=tiny.maker(finished.folder),
        context=StageContext(
            campaign="tiny", round=number, seed=1, artifacts=str(finished.folder / "artifacts"), work=str(tmp_path)
        ),
        before=next(state for state in finished.states if state.round == number),
        segment=lineage.segment,
        screen=lineage.screen,
        screen_uuid=lineage.substructure.screen_uuid,
        crop=lineage.crop,
        relaxation=lineage.relaxation,
        substructure=lineage.substructure,
        update=lineage.update,
        store=JobStore(MemoryStore()),
    )


def timeless(doc: Any) -> Any:
    """A document without what depends on the clock, its version marks, or the store it lies in."""
    data = json.loads(json.dumps(doc if isinstance(doc, dict) else doc.model_dump(mode="json")))

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            dropped = ("seconds", "label_seconds", "core_seconds", "@module", "@class", "@version")
            return {key: cleaned(item) for key, item in value.items() if key not in dropped}
        return [cleaned(item) for item in value] if isinstance(value, list) else value

    return json.dumps(cleaned(data), sort_keys=True)  # text, so that NaN equals NaN


def test_every_stored_document_is_valid_and_survives_json(finished: Any) -> None:
    seen = set()
    for entry in finished.campaign.store.query({}, load=True):
        output = entry["output"]
        if not isinstance(output, dict) or "kind" not in output:
            continue
        schema = KINDS[output["kind"]]
        doc = schema.model_validate(output)
        assert timeless(schema.model_validate_json(doc.model_dump_json())) == timeless(doc)
        assert doc.campaign == "tiny"
        assert entry["metadata"]["campaign"] == "tiny"
        assert entry["metadata"]["round"] == doc.round - (output["kind"] == "state")
        seen.add(output["kind"])
    assert seen == set(KINDS)


def test_documents_refuse_unknown_fields() -> None:
    for name in schemas.__all__:
        schema = getattr(schemas, name)
        if name != "CandidateFigures":  # may carry further figures
            assert schema.model_config["extra"] == "forbid", name


def test_the_whole_maker_survives_mson(tmp_path: Path) -> None:
    maker = tiny.maker(tmp_path, threshold=7.5, n_walkers=2, embedding="crop", max_failed_labels=4)
    text = json.dumps(maker, cls=MontyEncoder)
    copy = json.loads(text, cls=MontyDecoder)
    assert type(copy) is IdealMaker
    assert json.dumps(copy, cls=MontyEncoder) == text
    assert settings_key(copy) == settings_key(maker)
    assert isinstance(copy.label.labeller, AseLabeller)
    assert settings_key(tiny.maker(tmp_path, threshold=7.6)) != settings_key(maker)


@pytest.mark.parametrize("stage", ["bootstrap", "segment", "screen", "crop", "relax", "label", "update", "evaluation"])
def test_stages_survive_mson(stage: str, tmp_path: Path) -> None:
    maker = getattr(tiny.maker(tmp_path), stage)
    copy = type(maker).from_dict(json.loads(json.dumps(maker.as_dict(), cls=MontyEncoder)))
    assert copy.as_dict() == maker.as_dict()
    assert type(copy) is type(maker)


def test_default_makers_need_no_arguments_and_label_with_vasp() -> None:
    maker = IdealMaker()
    assert isinstance(maker.label.labeller, StaticLabeller)
    assert maker.label.method == "VASP PBE"
    copy = json.loads(json.dumps(maker, cls=MontyEncoder), cls=MontyDecoder)
    assert settings_key(copy) == settings_key(maker)


@pytest.mark.parametrize("as_pymatgen", [False, True])
def test_seeds_as_objects_are_stored_as_data(as_pymatgen: bool, tmp_path: Path) -> None:
    seed = bulk("Cu", "fcc", 3.62, cubic=True)
    entry = AseAtomsAdaptor.get_structure(seed) if as_pymatgen else seed
    maker = tiny.maker(tmp_path, bootstrap={"seeds": [entry], "n_structures": 2})
    copy = json.loads(json.dumps(maker, cls=MontyEncoder), cls=MontyDecoder)
    for one in (maker, copy):
        structures = one.bootstrap.initial_structures(tiny.frame(), seed=3)
        assert [len(atoms) for atoms in structures] == [32, 32]
        assert structures[0].cell.cellpar()[0] == pytest.approx(2 * 3.62, rel=0.05)


def test_segment_is_a_pure_function_of_its_inputs(labelled: Round) -> None:
    walker = labelled.before.walkers[0]
    job = labelled.maker.segment.make(labelled.context, walker, labelled.before.learner, labelled.before.threshold)
    named(job, labelled.context, "segment", 0)
    assert job.uuid == labelled.segment.uuid == stage_uuid("tiny", labelled.context.round, "segment", 0)
    assert timeless(labelled.again(job)) == timeless(labelled.segment)


def test_screen_is_a_pure_function_of_its_inputs(labelled: Round) -> None:
    job = labelled.maker.screen.make(
        labelled.context, labelled.segment, labelled.before.learner, labelled.before.threshold
    )
    assert timeless(labelled.again(job)) == timeless(labelled.screen)


def test_crop_search_is_a_pure_function_of_its_inputs(labelled: Round) -> None:
    centre = next(entry for entry in labelled.screen.centres if entry.atom == labelled.crop.atom)
    job = labelled.maker.crop.make(
        labelled.context, labelled.segment.frame, labelled.screen, labelled.screen_uuid, centre, labelled.before.learner
    )
    assert timeless(labelled.again(job)) == timeless(labelled.crop)
    assert len(labelled.crop.candidates) > len(labelled.crop.chosen) > 0


def test_a_frame_within_the_budget_is_used_whole_unless_told(labelled: Round) -> None:
    centre = next(entry for entry in labelled.screen.centres if entry.atom == labelled.crop.atom)
    sizes = {}
    for whole in (True, False):
        job = CropSearchMaker(n_candidates=6, max_atoms=200, whole_if_small=whole).make(
            labelled.context, labelled.segment.frame, labelled.screen, "screen", centre, labelled.before.learner
        )
        sizes[whole] = {candidate["n_atoms"] for candidate in labelled.again(job)["candidates"]}
    assert sizes[True] == {107}
    assert len(sizes[False] - {107}) > 1


def test_relaxation_is_a_pure_function_of_its_inputs(labelled: Round) -> None:
    crop_uuid = labelled.substructure.crop_uuid
    job = labelled.maker.relax.make(labelled.context, labelled.crop, crop_uuid, labelled.before.learner, 0)
    assert timeless(labelled.again(job)) == timeless(labelled.relaxation)


def test_relaxation_of_a_crop_that_does_not_exist_says_why(labelled: Round) -> None:
    job = labelled.maker.relax.make(labelled.context, labelled.crop, "crop", labelled.before.learner, 7)
    doc = RelaxationDoc.model_validate(labelled.again(job))
    assert doc.structure is None
    assert "cells stood the search" in doc.reason


def test_label_is_a_pure_function_of_its_inputs(labelled: Round) -> None:
    job = named(labelled.maker.label.make(labelled.context, labelled.relaxation), labelled.context, "label", 0)
    doc = SubstructureDoc.model_validate(labelled.again(job))
    assert doc.model_copy(update={"uuid": labelled.substructure.uuid, "seconds": 0.0, "core_seconds": 0.0}) == (
        labelled.substructure.model_copy(update={"seconds": 0.0, "core_seconds": 0.0})
    )
    assert doc.geometry_key == geometry_key(to_atoms(doc.structure), {"labeller": labelled.maker.label.science})


def test_the_same_geometry_is_labelled_once(labelled: Round) -> None:
    structure = labelled.relaxation.structure
    first = labelled.maker.label.make(labelled.context, structure, request="a", origin="bootstrap")
    second = labelled.maker.label.make(labelled.context, structure, request="b", origin="evaluation")
    computed, reused = (LabelledDoc.model_validate(labelled.again(job)) for job in (first, second))
    assert computed.reused_from is None
    assert reused.reused_from == first.uuid
    assert (reused.energy, reused.forces, reused.seconds) == (computed.energy, computed.forces, computed.seconds)
    other_limit = LabelMaker(labeller={"calculator": tiny.EMT, "reference": "the same EMT", "time_limit_s": 7.0})
    third = other_limit.make(labelled.context, structure, request="c", origin="bootstrap")
    assert LabelledDoc.model_validate(labelled.again(third)).reused_from == first.uuid
    elsewhere = LabelMaker(labeller={"calculator": tiny.EMT, "kwargs": {"asap_cutoff": True}})
    fourth = elsewhere.make(labelled.context, structure, request="d", origin="bootstrap")
    assert LabelledDoc.model_validate(labelled.again(fourth)).reused_from is None


def test_another_cell_at_a_place_that_was_labelled_has_a_key_of_its_own(labelled: Round) -> None:
    """A walker that went back after a blow-up may ask at the same step and atom; one label must not take the other's place."""
    structure = labelled.relaxation.structure
    moved = structure.model_copy(
        update={"positions": [[x + 0.01, y, z] for x, y, z in structure.positions[:1]] + structure.positions[1:]}
    )
    other = labelled.relaxation.model_copy(update={"structure": moved})
    keys, number = [], labelled.context.round
    for later, asked in enumerate((labelled.relaxation, other, labelled.relaxation, other)):
        context = labelled.context.model_copy(update={"round": number + later})
        label = named(labelled.maker.label.make(context, asked), context, "label", 0)
        keys.append(SubstructureDoc.model_validate(labelled.again(label)).request_key)
    first = labelled.substructure.request_key
    assert keys == [first, f"{first}/r{number + 1:06d}"] * 2
    found = substructures_of(labelled.store, "tiny", keys)
    assert [doc.structure == moved for doc in found] == [False, True]


def test_a_late_label_of_the_same_cell_is_learned_once(labelled: Round) -> None:
    """The first was lost, the cell is asked for once more, and both arrive in the same round."""
    number, place = labelled.context.round, labelled.substructure
    for later in (0, 1):
        context = labelled.context.model_copy(update={"round": number + later})
        labelled.again(named(labelled.maker.label.make(context, labelled.relaxation), context, "label", 0))
    lost = [(number, place.walker, place.step, place.atom)]
    assert collect(labelled.store, context, Ledger(), lost).keys == [place.request_key]


def test_a_label_of_version_0_1_is_the_same_cell(labelled: Round) -> None:
    """Its geometry key is of another form."""
    atoms, first = to_atoms(labelled.relaxation.structure), labelled.substructure.request_key
    former = labelled.maker.label.geometry_keys(atoms)[1]
    place = (
        labelled.relaxation.walker,
        labelled.relaxation.step,
        labelled.relaxation.atom,
        labelled.relaxation.attempt,
    )
    old = labelled.substructure.model_copy(update={"round": 0, "geometry_key": former})
    labelled.store.connect()
    labelled.store.update(
        [{"uuid": "old", "index": 1, "output": json.loads(old.model_dump_json())}], key=["uuid", "index"]
    )
    assert key_at(labelled.store, labelled.context, place, labelled.maker.label.geometry_keys(atoms)) == first
    assert key_at(labelled.store, labelled.context, place, ["another"]) == f"{first}/r{labelled.context.round:06d}"


def test_every_label_says_what_it_cost(finished: Any) -> None:
    for doc in (*finished.campaign.labels(), *finished.campaign.substructures()):
        assert doc.n_electrons == 29 * doc.n_atoms
        assert 0 < doc.core_seconds < doc.seconds + 0.05  # one thread; the clock of processor time ticks in 0.01 s
        assert doc.n_valence_electrons is None  # EMT has none


def test_neither_a_restart_nor_another_campaign_of_the_store_pays_twice(tmp_path: Path) -> None:
    counted = {"labeller": {"calculator": "support.counting.CountedEMT", "kwargs": {"log": str(tmp_path / "log")}}}
    for max_rounds in (1, 4, None):
        tiny.run(tmp_path, label=counted, evaluation={"n_frames": 0}, max_rounds=max_rounds)
    paid = (tmp_path / "log").read_text().splitlines()
    assert len(paid) == len(set(paid)) > 8
    state, campaign = tiny.run(tmp_path, campaign="second", label=counted, evaluation={"n_frames": 0})
    assert state.status == "finished"
    docs = [*campaign.labels(), *campaign.substructures()]
    assert len(docs) == len(paid)
    assert all(doc.reused_from and doc.campaign == "second" for doc in docs)
    assert (tmp_path / "log").read_text().splitlines() == paid


def test_update_learns_the_same_from_the_same_labels(finished: Any, labelled: Round, tmp_path: Path) -> None:
    shutil.copy(finished.folder / "store.sqlite", tmp_path / "store.sqlite")
    store = tiny.sqlite(tmp_path)
    uuid = stage_uuid("tiny", labelled.context.round, "update")
    store.docs_store.remove_docs({"uuid": uuid})
    labelled.store = store
    frames = {"0": labelled.segment.frame}
    job = named(
        labelled.maker.update.make(labelled.context, labelled.before.learner, frames), labelled.context, "update"
    )
    assert job.uuid == uuid
    assert timeless(labelled.again(job)) == timeless(labelled.update)


def test_a_committed_job_is_not_computed_again(finished: Any, labelled: Round, tmp_path: Path) -> None:
    """A job that meets its own output in the store returns it: an impossible input does not even get looked at."""
    shutil.copy(finished.folder / "store.sqlite", tmp_path / "store.sqlite")
    labelled.store = tiny.sqlite(tmp_path)
    nowhere = labelled.before.walkers[0].model_copy(update={"md_state": labelled.before.learner.ledger})
    job = named(
        labelled.maker.segment.make(labelled.context, nowhere, labelled.before.learner, 1.0),
        labelled.context,
        "segment",
        0,
    )
    assert labelled.again(job)["end_state"]["sha256"] == labelled.segment.end_state.sha256


def test_bootstrap_flow_has_stable_uuids_and_structures(labelled: Round) -> None:
    context = labelled.context.model_copy(update={"round": 0})

    def made() -> Flow:
        return labelled.maker.bootstrap.make(context, tiny.frame(), labelled.maker.label, "auto")

    assert [job.uuid for job in made().jobs] == [job.uuid for job in made().jobs]
    assert len({job.uuid for job in made().jobs}) == 9
    first, second = (labelled.maker.bootstrap.initial_structures(tiny.frame(), seed) for seed in (1, 1))
    other = labelled.maker.bootstrap.initial_structures(tiny.frame(), 2)
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(first, second, strict=True))
    assert not np.allclose(first[0].positions, other[0].positions)


def test_every_flow_of_the_campaign_has_stable_uuids(finished: Any) -> None:
    maker = tiny.maker(finished.folder)
    for state in finished.states[:-1]:
        action = next_action(state)
        uuids = [sorted(maker.flow(state, action, None).job_uuids) for _ in range(2)]
        assert uuids[0] == uuids[1]
        assert len(set(uuids[0])) == len(uuids[0])


def test_a_stage_without_a_store_says_so(labelled: Round) -> None:
    body = type(labelled.maker.update).make.original
    with pytest.raises(CampaignError, match="needs a job store"):
        body(labelled.maker.update, labelled.context, labelled.before.learner, {}, [], True)


def test_check_campaign_passes_what_the_fixture_ran(tmp_path: Path) -> None:
    check_campaign(tiny.maker(tmp_path), tiny.frame())


def test_a_labeller_with_keywords_survives_json() -> None:
    before = AseLabeller("ase.calculators.lj.LennardJones", kwargs={"sigma": 2.3, "rc": 6.0}, reference="LJ")
    after = MontyDecoder().decode(json.dumps(before.as_dict()))
    assert after == before
    assert settings_key(after) == settings_key(before)
