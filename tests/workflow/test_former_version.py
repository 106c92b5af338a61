"""What version 0.1.0 stored is read, continued and found: campaigns, queued jobs, keys."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from jobflow import run_locally
from monty.json import MontyDecoder, MontyEncoder

from idealflow import Campaign
from idealflow.cli import main
from idealflow.labelling import geometry_key, is_former_geometry_key
from idealflow.workflow.campaign.opening import labeller_changed, science_key, settings_changed
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.jobs.keys import former_key, settings_key

STORED = Path(__file__).parents[1] / "fixtures" / "version-0.1.0"
KEYS = json.loads((STORED / "keys.json").read_text())


@pytest.fixture
def unpacked(tmp_path: Path) -> Any:
    """Function that lays a stored campaign and its config into the test's folder and gives the campaign's."""

    def unpack(name: str) -> Path:
        with tarfile.open(STORED / f"{name}.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        return tmp_path / name

    return unpack


def run(folder: Path, *extra: str) -> int:
    return main(["run", str(folder.with_suffix(".yaml")), "--out", str(folder), "--quiet", *extra])


def campaign(folder: Path) -> Campaign:
    return Campaign.open(folder)  # its files are in the folder, not where they were when it was written


@pytest.mark.parametrize("name", sorted(KEYS))
def test_keys_of_0_1_are_found_again(name: str) -> None:
    stored = KEYS[name]
    maker = MontyDecoder().process_decoded(stored["maker"])
    assert former_key(maker.label.labeller) == stored["label_key"]
    assert former_key(maker.label.labeller.science()) == stored["label_science"]
    assert not settings_changed(maker, stored["science_key"])
    assert not labeller_changed(maker, stored["label_key"])
    assert science_key(maker) != stored["science_key"]


@pytest.mark.parametrize("name", sorted(KEYS))
def test_nothing_stored_or_hashed_says_in_which_file_a_class_lies(name: str) -> None:
    maker = MontyDecoder().process_decoded(KEYS[name]["maker"])
    written = json.dumps(maker.as_dict(), cls=MontyEncoder)
    assert "idealflow.workflow" not in written
    again = MontyDecoder().decode(written)
    assert settings_key(again) == settings_key(maker)
    assert type(again) is type(maker)


def test_a_finished_campaign_is_read(unpacked: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = unpacked("finished")
    summary = json.loads((folder / "summary.json").read_text())
    assert main(["status", str(folder), "--json"]) == 0
    now = json.loads(capsys.readouterr().out)
    for name in (
        "status",
        "rounds",
        "n_substructures",
        "n_failed_labels",
        "model_sha256",
        "uncertainty_threshold",
        "L",
    ):
        assert now[name] == summary[name], name
    stored = campaign(folder)
    assert len(stored.dataset()) == summary["n_substructures"] + summary["n_bootstrap_labels"]
    for doc in stored.substructures():
        assert stored.lineage(doc.uuid).substructure == doc


def test_a_finished_campaign_is_finished_and_a_longer_one_goes_on(
    unpacked: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = unpacked("finished")
    before = {doc.uuid for doc in campaign(folder).substructures()}
    assert run(folder) == 0
    assert "nothing to do" in capsys.readouterr().out
    config = folder.with_suffix(".yaml")
    settings = yaml.safe_load(config.read_text())
    settings["segment"]["schedule"].append({"kind": "hold", "temperature": 300, "steps": 10})
    config.write_text(yaml.safe_dump(settings))
    assert run(folder) == 0
    stored = campaign(folder)
    assert stored.state().status == "finished"
    assert stored.state().walkers[0].step == 70
    assert before <= {doc.uuid for doc in stored.substructures()}


def test_a_paused_campaign_goes_on_and_no_label_is_computed_again(unpacked: Any) -> None:
    folder = unpacked("paused")
    before = [doc.model_dump() for doc in campaign(folder).labels()]
    assert run(folder) == 0
    stored = campaign(folder)
    assert stored.state().status == "finished"
    assert [doc.model_dump() for doc in stored.labels(origin="bootstrap")] == before
    keys = [doc.geometry_key for doc in stored.substructures()]
    assert any(is_former_geometry_key(key) for key in keys)
    assert any(not is_former_geometry_key(key) for key in keys)


def test_a_label_of_0_1_answers_for_the_same_geometry(unpacked: Any, tmp_path: Path) -> None:
    """The same campaign under another name on the same store pays for none of its bootstrap labels."""
    folder = unpacked("paused")
    config = folder.with_suffix(".yaml")
    maker, atoms = tiny_maker(config, folder, campaign="again")
    from idealflow import run_campaign
    from idealflow.workflow.frames.encode import to_stored

    store = CampaignDirectory(folder).job_store()
    run_campaign(maker, to_stored(atoms), store, max_rounds=1, root_dir=tmp_path)
    labels = Campaign(store, "again").labels(origin="bootstrap")
    assert labels
    assert all(doc.reused_from is not None for doc in labels)


def tiny_maker(config: Path, folder: Path, **changes: Any) -> Any:
    """Maker and frame of a stored campaign's config, placed in its folder."""
    from dataclasses import replace

    from idealflow.workflow.config.load import load_config

    maker, atoms, _ = load_config(config)
    return replace(CampaignDirectory(folder).placed(maker), **changes), atoms


def test_a_makers_label_of_a_film_is_not_used_again(unpacked: Any, tmp_path: Path) -> None:
    """Version 0.1.0 labelled a film as if it were periodic in all directions, without vacuum."""
    folder = unpacked("film")
    maker, _ = tiny_maker(folder.with_suffix(".yaml"), folder)
    film = campaign(folder).labels(origin="bootstrap")[0]
    from idealflow.workflow.frames.encode import to_atoms

    frame = to_atoms(film.structure)
    assert film.geometry_key not in maker.label.geometry_keys(frame)
    frame.pbc = True
    assert len(maker.label.geometry_keys(frame)) == 2
    assert geometry_key(frame, {"labeller": maker.label.science}) == maker.label.geometry_keys(frame)[0]


def queued(flow: str, folder: Path) -> list[Any]:
    """The jobs of a stored FireWorks workflow, decoded as a worker does."""
    text = (STORED / "fireworks.json").read_text().replace("/data/", f"{folder.parent}/")
    return [MontyDecoder().process_decoded(spec["_tasks"][0]["job"]) for spec in json.loads(text)[flow]]


def test_a_queued_opening_of_0_1_adds_the_round_that_is_due(unpacked: Any) -> None:
    folder = unpacked("paused")
    store = CampaignDirectory(folder).job_store()
    (job,) = queued("opening", folder)
    response = job.run(store=store)
    names = [added.name for added, _ in response.addition.iterflow()]
    assert names == ["segment r3 0", "screen r3 0", "dispatch r3 0", "update r3", "state r3"]


def test_a_queued_round_of_0_1_runs(unpacked: Any, tmp_path: Path) -> None:
    folder = unpacked("paused")
    store = CampaignDirectory(folder).job_store()
    before = Campaign(store, "tiny").state()
    for job in queued("round", folder):
        response = job.run(store=store)
        if response.detour is not None:
            run_locally(response.detour, store=store, log=False, root_dir=tmp_path, raise_immediately=True)
    after = Campaign(store, "tiny").state()
    assert after.round == before.round + 1
    assert after.walkers[0].step > before.walkers[0].step


def test_import_paths_of_0_1_that_configs_and_queues_hold_still_lead_somewhere() -> None:
    code = (
        "from idealflow.workflow.vasp import vasp_static; from idealflow.workflow.vasp.inputs import SubstructureSetGenerator;"
        "import idealflow, idealflow.workflow.crop as crop, idealflow.workflow.stages.crop as now;"
        "assert crop is now and now.__spec__.name == 'idealflow.workflow.stages.crop';"
        "assert vasp_static is idealflow.vasp_static"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
