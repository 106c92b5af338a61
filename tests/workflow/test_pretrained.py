"""Campaigns that begin from pretrained weights."""

import json
from importlib.util import find_spec
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from idealflow import cli
from idealflow.config_text import dump_yaml
from idealflow.errors import InputError
from idealflow.forcefields import get_force_field, load_force_field
from idealflow.report import summarise, summary_text
from idealflow.storage import ArtifactStore
from idealflow.workflow.campaign.changes import compared
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.campaign.record import load_settings, settings_of
from idealflow.workflow.learner.version import load_force_field_artifact
from support import tiny
from support.labelled_cells import copper_cells

SHIPPED = Path(__file__).parents[1] / "fixtures" / "sevennet" / "small.pth"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A force field that learned other copper than the tiny campaign's."""
    made = get_force_field("local", species=["Cu"], cutoff=4.0, hidden=[8])
    made.fit(copper_cells(4, 3), steps=60, seed=3)
    return made.save(tmp_path_factory.mktemp("weights") / "copper.ff")


def begun_from(pretrained, **bootstrap):
    given = {"pretrained": str(pretrained), "force_field_settings": {}, "anchor": 6, "fit_steps": 5, **bootstrap}
    return {"bootstrap": given, "evaluation": {"n_frames": 0}}


def test_a_campaign_learns_from_weights_that_are_kept_and_says_how_far_it_moved(weights, tmp_path):
    folder = tmp_path / "run"
    file = tmp_path / "moved.ff"
    file.write_bytes(weights.read_bytes())
    _, campaign = tiny.run(folder, max_rounds=3, **begun_from(file))
    first = campaign.bootstrap()
    assert first.pretrained == str(file)
    store = ArtifactStore(str(folder / "artifacts"))
    assert store.get(first.weights).read_bytes() == weights.read_bytes()
    learned, start = load_force_field_artifact(store, first.learner), load_force_field(weights)
    assert learned.settings == start.settings
    assert first.force_shift == learned.force_shift() > 0.0
    assert first.held_out_errors.energy < start.errors(copper_cells(4, 3))[:, 0].mean() + 0.05
    updates = campaign.updates(decision="accepted")
    assert updates
    assert all(update.force_shift > 0.0 for update in updates)
    assert updates[-1].force_shift == load_force_field_artifact(store, updates[-1].learner).force_shift()
    said = summarise(campaign)
    assert said["pretrained"]["weights"] == str(file)
    assert said["pretrained"]["force_shift_first_meV_per_A"] == 1e3 * first.force_shift
    assert said["pretrained"]["force_shift_last_meV_per_A"] == 1e3 * updates[-1].force_shift
    assert f"began from the weights {file}; since then forces outside the campaign have moved by" in summary_text(said)


def test_all_frozen_leaves_forces_as_they_are(tmp_path):
    anchors = tmp_path / "anchors.xyz"
    ase.io.write(
        anchors, [bulk("Cu", "bcc", a=2.9, cubic=True), bulk("Al", cubic=True), bulk("CuAl", "cesiumchloride", a=3.0)]
    )
    frozen = begun_from(
        SHIPPED, freeze=["*"], anchor=str(anchors), soap={"r_cut": 3.0, "n_max": 3, "l_max": 3, "sigma": 0.3}
    )
    _, campaign = tiny.run(tmp_path, max_rounds=1, **frozen)
    first = campaign.bootstrap()
    assert first.atom_steps == 0
    assert first.force_shift == pytest.approx(0.0, abs=1e-6)
    assert first.train_errors.energy < 0.1  # of 3.5 eV: energies of the species were fitted


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pretrained": "7net0"}, r"no weights have that name \(did you mean '7net-0'\?\)"),
        ({"pretrained": __file__}, r"bootstrap\.pretrained: .*holds no weights that can be read"),
        ({"force_field_settings": {"cutoff": 4.5}}, "weights bring cutoff with them"),
        ({"force_field": "m3gnet"}, "are those of a force field 'local', not 'm3gnet'"),
        ({"freeze": ["*"]}, "has no such setting"),
        ({"anchor": __file__}, r"bootstrap\.anchor: ASE reads no structures"),
    ],
)
def test_what_is_wrong_is_refused_before_any_label(weights, tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        check_campaign(tiny.maker(tmp_path, **begun_from(**{"pretrained": weights, **wrong})), tiny.frame())


def test_truncated_weights_and_unknown_species_are_refused_before_any_label(weights, tmp_path):
    cut = tmp_path / "cut.ff"
    cut.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"bootstrap\.pretrained: .*is damaged"):
        check_campaign(tiny.maker(tmp_path, **begun_from(cut)), tiny.frame())
    alloy = tiny.frame()
    alloy.symbols[3] = "Ni"
    with pytest.raises(InputError, match="do not know Ni; they know Cu; take others"):
        check_campaign(tiny.maker(tmp_path, **begun_from(weights)), alloy)
    with pytest.raises(InputError, match="freeze and anchor are for pretrained weights"):
        tiny.maker(tmp_path, bootstrap={"freeze": ["*"]})


@pytest.mark.skipif(find_spec("sevenn") is not None, reason="the package is there")
def test_a_missing_package_is_refused_before_any_label(tmp_path):
    for changes in (begun_from("7net-0"), {"bootstrap": {"force_field": "sevennet", "force_field_settings": {}}}):
        with pytest.raises(InputError, match=r"pip install 'idealflow\[sevennet\]'"):
            check_campaign(tiny.maker(tmp_path, **changes), tiny.frame())


def test_hashes_of_settings_without_pretrained_weights_stay(tmp_path):
    stored = tiny.maker(tmp_path).bootstrap.as_dict()
    assert not {"pretrained", "freeze", "anchor"} & set(stored)
    assert np.isclose(stored["held_out"], 0.1)


def run_in(folder, config, *more):
    return cli.main(["run", str(config), "--out", str(folder), "--quiet", *more])


def test_a_campaign_goes_on_when_the_file_of_its_weights_is_gone_or_elsewhere(weights, tmp_path, capsys):
    given, anchors = tmp_path / "copper.ff", tmp_path / "anchors.xyz"
    given.write_bytes(weights.read_bytes())
    ase.io.write(anchors, [atoms.copy() for atoms in copper_cells(3, 4)])
    settings = tiny.settings(
        **begun_from("copper.ff", anchor="anchors.xyz"),
        structure={"element": "Cu", "a": 3.62, "cubic": True, "repeat": 3},
    )
    config, out = tmp_path / "c.yaml", tmp_path / "out"
    config.write_text(dump_yaml(settings))
    assert run_in(out, config, "--max-rounds", "1") == 0
    given.unlink()
    anchors.unlink()
    assert run_in(out, config, "--max-rounds", "2") == 0  # from the campaign's own copy
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rounds"] >= 2
    assert summary["settings_changes"] == []

    (tmp_path / "else").mkdir()
    moved = tmp_path / "else" / "copper.ff"
    moved.write_bytes(weights.read_bytes())
    settings["bootstrap"]["pretrained"] = "else/copper.ff"
    config.write_text(dump_yaml(settings))
    assert run_in(out, config, "--max-rounds", "1") == 0
    other = load_force_field(weights)
    other.fit(copper_cells(4, 3), steps=2, seed=9)
    other.save(moved)
    capsys.readouterr()
    assert run_in(out, config) == 2  # other weights are no continuation
    assert "has been run with other settings: bootstrap.pretrained = " in capsys.readouterr().err


def test_a_new_campaign_without_the_file_is_refused(tmp_path, capsys):
    config = tmp_path / "c.yaml"
    config.write_text(dump_yaml(tiny.settings(**begun_from("absent.ff"), structure={"element": "Cu", "repeat": 3})))
    assert run_in(tmp_path / "out", config) == 2
    assert "there is no file absent.ff" in capsys.readouterr().err


def test_settings_that_former_versions_stored_with_the_bare_name_of_a_file_are_those_of_today(weights, tmp_path):
    maker = tiny.maker(tmp_path, **begun_from(weights))
    today = settings_of(maker)
    former = today | {"bootstrap.pretrained": str(weights)}
    store = ArtifactStore(str(tmp_path / "artifacts"))
    stored = store.put_bytes(json.dumps(former).encode(), suffix=".json")
    assert compared(load_settings(store, stored), today, done=0) == ([], [])
