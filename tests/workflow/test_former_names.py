"""What was called otherwise is still understood, hashed as before, and said how to write it now; one setting has one place."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.build import bulk
from ase.io import write
from jobflow import JobStore
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder

from idealflow import AseLabeller, IdealMaker, LabelMaker, MDSegmentMaker, ModelUpdateMaker, run_campaign, vasp_static
from idealflow.cli import main
from idealflow.cli.inputs import checked_config
from idealflow.errors import InputError
from idealflow.forcefields import get_force_field
from idealflow.forcefields.local import LocalForceField
from idealflow.labelling import AseEngine
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.opening import science_key
from idealflow.workflow.campaign.queues import categories_of
from idealflow.workflow.campaign.record import load_settings, settings_of
from idealflow.workflow.config.load import maker_from_settings
from idealflow.workflow.drivers.fireworks import submit_campaign
from idealflow.workflow.jobs.keys import settings_key
from support import tiny

KEYS = json.loads((Path(__file__).parents[1] / "fixtures" / "version-0.1.0" / "keys.json").read_text())

#: config in former words → the line that says how to write it, and the same in present words
SPELLINGS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "categories": (
        {"category": "cpu", "segment": {"category": "gpu"}, "update": {"category": "gpu"}},
        "`category` is written as one mapping now: `queues: {default: cpu, segment: gpu, update: gpu}`",
        {"queues": {"default": "cpu", "segment": "gpu", "update": "gpu"}},
    ),
    "no category": (
        {"category": None, "queues": {"label": "cpu"}},
        "`category` is written as one mapping now: `queues: {label: cpu}`",
        {"queues": {"label": "cpu"}},
    ),
    "time of a segment": (
        {"segment": {"wall_time_s": 60}},
        "segment.wall_time_s is called segment.time_limit_s now",
        {"segment": {"time_limit_s": 60}},
    ),
    "step size of the first fit": (
        {"bootstrap": {"force_field_settings": {"cutoff": 4.0, "fit_lr": 0.01}}},
        "bootstrap.force_field_settings.fit_lr is called bootstrap.force_field_settings.fit_learning_rate now",
        {"bootstrap": {"force_field_settings": {"cutoff": 4.0, "fit_learning_rate": 0.01}}},
    ),
}


def written(folder: Path, **changes: Any) -> Path:
    write(folder / "frame.extxyz", tiny.frame())
    config = folder / "c.yaml"
    config.write_text(yaml.safe_dump({"structure": "frame.extxyz", **tiny.settings(**changes)}))
    return config


@pytest.mark.parametrize("case", SPELLINGS)
def test_a_config_in_former_words_is_read_and_said_how_to_write(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    former, line, present = SPELLINGS[case]
    maker, _, settings, notes = checked_config(written(tmp_path, **former))
    said = capsys.readouterr().err
    assert said == f"idealflow: {tmp_path / 'c.yaml'}: {line}\n"
    assert notes == []
    again, _, same, _ = checked_config(written(tmp_path, **present))
    assert capsys.readouterr().err == ""
    assert maker == again
    assert settings == same  # what the campaign's folder keeps is in present words


def test_former_words_of_vasp_labels_are_read() -> None:
    kwargs = {"kind": "metal", "wall_time_s": 3000}
    labeller = {"maker": "idealflow.vasp_static", "kwargs": kwargs}
    maker = maker_from_settings(tiny.settings() | {"label": {"labeller": labeller}})
    now = vasp_static("metal", time_limit_s=3000)
    assert maker.label.labeller.maker.as_dict() == now.as_dict() == vasp_static("metal", wall_time_s=3000).as_dict()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"category": "cpu", "queues": {"default": "gpu"}}, "category = cpu contradicts queues.default = gpu"),
        ({"segment": {"category": "a"}, "queues": {"segment": "b"}}, "segment.category = a contradicts queues.segment = b"),
        ({"segment": {"wall_time_s": 1, "time_limit_s": 2}}, "segment: wall_time_s is called time_limit_s now"),
        ({"queues": {"segments": "gpu"}}, r"queues has no part 'segments' \(did you mean 'segment'\?\)"),
        ({"queues": {"segment": ""}}, "queues.segment must be the name of a category"),
        ({"queues": "gpu", "category": "gpu"}, "queues must be a mapping"),
        ({"segment": {"category": 3}}, "segment.category must be the name of a category, got 3"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        maker_from_settings(tiny.settings(**settings))
    assert "\n" not in str(caught.value)


def test_makers_in_former_words_are_the_same_makers() -> None:
    label = LabelMaker(AseLabeller(tiny.EMT))
    former = IdealMaker(
        label=label,
        category="cpu",
        segment=MDSegmentMaker(category="gpu", wall_time_s=60.0),
        update=ModelUpdateMaker(category="gpu"),
    )
    queues = {"default": "cpu", "segment": "gpu", "update": "gpu"}
    assert former == IdealMaker(label=label, segment=MDSegmentMaker(time_limit_s=60.0), queues=queues)
    assert replace(former, queues={}).queues == {}  # nothing of the former words is left behind
    with pytest.raises(InputError, match="MDSegmentMaker: wall_time_s is called time_limit_s now"):
        MDSegmentMaker(wall_time_s=1.0, time_limit_s=1.0)


def test_a_maker_that_0_1_stored_keeps_its_queues_and_its_budget_of_time() -> None:
    stored = dict(KEYS[min(KEYS)]["maker"])
    stored |= {"category": "cpu", "max_rounds": 20, "continuation": "launchpad", "launchpad": "pad.yaml"}
    stored["segment"] = stored["segment"] | {"category": "gpu", "wall_time_s": 120.0}
    maker = MontyDecoder().process_decoded(stored)
    assert (maker.queues, maker.segment.time_limit_s) == ({"default": "cpu", "segment": "gpu"}, 120.0)
    assert (maker.max_rounds, maker.continuation, maker.launchpad) == (20, "launchpad", "pad.yaml")
    written_now = json.dumps(maker, cls=MontyEncoder)
    assert json.dumps(MontyDecoder().decode(written_now), cls=MontyEncoder) == written_now
    assert "category" not in written_now


def test_every_stage_goes_to_the_queue_it_went_to() -> None:
    """The table by which nine categories were looked up before they were one mapping."""
    parts = {
        name: name
        for name in ("default", "bootstrap", "segment", "screen", "crop", "relax", "label", "update", "evaluation")
    }
    assert categories_of(parts) == {
        "segment": "segment", "screen": "screen", "crop": "crop", "relax": "relax", "label": "label", "update": "update",
        "bootstrap-label": "label", "check-label": "label", "bootstrap-fit": "bootstrap", "evaluate": "evaluation",
        "evaluation-label": "label", "relabel-label": "label", "relabel-fit": "bootstrap", "evaluation-compare": "evaluation",
        "consolidate": "update", "other": "default",
    }  # fmt: skip


def test_keys_are_those_of_the_former_words() -> None:
    """Against the hash of the settings as they were written before, computed here."""
    now = MDSegmentMaker(time_limit_s=60.0).as_dict()
    before = {key: value for key, value in now.items() if key not in ("time_limit_s", "@version")} | {
        "wall_time_s": 60.0
    }
    digest = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:16]
    assert settings_key(now) == f"2-{digest}"
    assert settings_key(["local", {"fit_learning_rate": 0.1}]) == settings_key(["local", {"fit_lr": 0.1}])
    one, other = (
        tiny.maker(Path("anywhere"), **changes) for changes in ({}, {"queues": {"label": "cpu"}, "max_rounds": 3})
    )
    assert science_key(one) == science_key(other)


def test_settings_that_were_kept_in_former_words_are_the_same_settings(tmp_path: Path) -> None:
    present = settings_of(
        tiny.maker(
            tmp_path,
            queues={"default": "cpu", "segment": "gpu"},
            segment={"time_limit_s": 60},
            bootstrap={"force_field_settings": {"fit_learning_rate": 0.01}},
        )
    )
    kept = {key: value for key, value in present.items() if key not in ("queues", "segment.time_limit_s")}
    kept |= {"category": "cpu", "segment.category": "gpu", "crop.category": None, "segment.wall_time_s": 60.0}
    kept["bootstrap.force_field_settings"] = {"fit_lr": 0.01}
    store = ArtifactStore(str(tmp_path / "artifacts"))
    stored = store.put_bytes(json.dumps(kept).encode(), suffix=".json")
    assert load_settings(store, stored) == json.loads(json.dumps(present))


def test_a_force_field_in_former_words_is_the_same_and_its_files_stay_as_they_were(tmp_path: Path) -> None:
    fields = [
        get_force_field("local", species=["Cu"], cutoff=4.0, hidden=[4], **name)
        for name in ({"fit_lr": 0.02}, {"fit_learning_rate": 0.02})
    ]
    files = []
    for number, field in enumerate(fields):
        files.append(field.save(tmp_path / f"{number}.pt").read_bytes())
    assert files[0] == files[1]
    assert json.loads(files[0].splitlines()[0])["settings"]["fit_lr"] == 0.02
    assert LocalForceField.load(tmp_path / "0.pt").settings["fit_learning_rate"] == 0.02
    with pytest.raises(InputError, match="fit_lr is called fit_learning_rate now"):
        get_force_field("local", species=["Cu"], fit_lr=0.1, fit_learning_rate=0.1)


def test_the_engine_is_the_labeller_under_its_former_name() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=0)
    former, now = AseEngine(tiny.EMT, name="E", threads=1), AseLabeller(tiny.EMT, reference="E")
    one, other = former.label(atoms), now.compute(atoms)
    assert (one.energy, one.forces.tolist(), one.method) == (other.energy, other.forces.tolist(), other.method)
    assert former.time_limit_s is None
    assert set(now.as_dict()) == {"@module", "@class", "calculator", "kwargs", "time_limit_s", "reference"}
    assert MontyDecoder().process_decoded(replace(now, threads=2).as_dict()) == replace(now, threads=2)


def test_max_rounds_of_the_config_and_of_the_command_bound_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    small = {"bootstrap": {"n_structures": 4, "fit_steps": 2}}
    command = ["run", str(written(tmp_path, max_rounds=1, **small)), "--out", str(out), "--quiet"]
    assert main(command) == 0
    assert "1 round done" in capsys.readouterr().out
    assert json.loads((out / "summary.json").read_text())["rounds"] == 1
    written(tmp_path, max_rounds=50, **small)
    assert main([*command, "--max-rounds", "1"]) == 0
    assert json.loads((out / "summary.json").read_text())["rounds"] == 2


def test_max_rounds_of_the_maker_bounds_a_call_with_plain_atoms(tmp_path: Path) -> None:
    maker = tiny.maker(tmp_path, max_rounds=1, bootstrap={"n_structures": 4, "fit_steps": 2})
    state = run_campaign(maker, tiny.frame(), JobStore(MemoryStore()), root_dir=tmp_path)
    assert (state.status, state.round, state.n_atoms) == ("paused", 1, len(tiny.frame()))


@pytest.mark.parametrize(
    ("changes", "call", "message"),
    [
        ({"max_rounds": 3}, {"max_rounds": 4}, "max_rounds is 3 in the Maker and 4 in the call; give it once"),
        ({"continuation": "launchpad"}, {}, "continuation = launchpad is for rounds that are submitted to FireWorks"),
    ],
)
def test_a_run_that_contradicts_the_maker_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], call: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run_campaign(tiny.maker(tmp_path, **changes), tiny.frame(), tiny.sqlite(tmp_path), **call)
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("changes", "launchpad", "message"),
    [
        ({"continuation": "return"}, None, "continuation = return keeps the rounds in one flow"),
        ({"max_rounds": 5}, None, "max_rounds = 5 is for calls on this machine"),
        ({"launchpad": "one.yaml"}, Path("other.yaml"), "one.yaml in the settings and .*other.yaml in the call"),
        ({"launchpad": "absent.yaml"}, None, "absent.yaml does not exist"),
        ({"launchpad": "absent.yaml"}, Path("absent.yaml"), "absent.yaml does not exist"),
    ],
)
def test_a_submission_that_contradicts_the_settings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], launchpad: Path | None, message: str
) -> None:
    monkeypatch.setattr("idealflow.workflow.drivers.fireworks.check_store", lambda *_: None)
    with pytest.raises(InputError, match=message):
        submit_campaign(tiny.maker(tmp_path, **changes), tiny.frame(), launchpad)


def test_a_flow_is_refused_a_number_of_rounds_that_nobody_can_keep_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="may be at most 100"):
        tiny.maker(tmp_path, max_rounds=101).make(tiny.frame())
    with pytest.raises(InputError, match="leave it out, and stop the campaign with `idealflow pause`"):
        tiny.maker(tmp_path, max_rounds=3, continuation="launchpad").make(tiny.frame())
