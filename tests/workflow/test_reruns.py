"""A campaign that is taken up again: what may change is recorded, what contradicts it is refused, half-done work must fit."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write
from jobflow import Maker

from idealflow import Campaign, cli
from idealflow.cli.display import Display
from idealflow.errors import InputError
from idealflow.forcefields import default_settings
from idealflow.report import summarise, summary_text
from idealflow.report.sections.about import about
from idealflow.report.sections.settings_words import NAMES
from idealflow.schemas import CampaignState
from idealflow.workflow.campaign.changes import may_change
from idealflow.workflow.campaign.record import settings_of
from idealflow.workflow.config.load import maker_from_settings
from idealflow.workflow.drivers.local import open_state
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.frames.encode import to_stored
from idealflow.workflow.jobs.progress import Progress, listening
from idealflow.workflow.labellers import AseLabeller
from idealflow.workflow.stages.update import ModelUpdateMaker
from support import tiny

STORED = Path(__file__).parents[1] / "fixtures" / "version-0.1.0"
NO_EVALUATION = {"evaluation": {"n_frames": 0}}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a campaign of two rounds, 20 steps in; read only."""
    folder = tmp_path_factory.mktemp("begun")
    state, _ = tiny.run(folder, max_rounds=2)
    assert (state.round, state.walkers[0].step) == (2, 20)
    return folder


def opened(folder: Path, atoms: Atoms | None = None, **changes: Any) -> CampaignState:
    structure = to_stored(tiny.frame() if atoms is None else atoms)
    return open_state(tiny.maker(folder, **changes), structure, tiny.sqlite(folder))


def other_structures() -> dict[str, Atoms]:
    silver, moved, other_cell, slab = tiny.frame(), tiny.frame(), tiny.frame(), tiny.frame()
    silver.numbers[:] = 47
    moved.positions[17, 1] += 0.01
    other_cell.set_cell(1.001 * other_cell.cell.array)
    slab.pbc = [True, True, False]
    return {"silver": silver, "moved": moved, "cell": other_cell, "slab": slab}


@pytest.mark.parametrize("which", ["silver", "moved", "cell", "slab"])
def test_another_structure_is_refused(begun: Path, which: str) -> None:
    with pytest.raises(InputError, match=r"has been run with other settings: structure = .*107 atoms Cu107"):
        opened(begun, other_structures()[which])


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"seed": 2}, "seed = 1, now 2"),
    ({"n_walkers": 2}, "n_walkers = 1, now 2"),
    ({"embedding": "crop"}, 'embedding = "ides", now "crop"'),
    ({"bootstrap": {"strain": 0.03}}, "bootstrap.strain = 0.02, now 0.03"),
    ({"bootstrap": {"force_field_settings": {"cutoff": 4.0, "hidden": [9]}}}, r"force_field_settings.hidden = \[8\], now \[9\]"),
    ({"bootstrap": {"soap": {"r_cut": 3.1, "n_max": 3, "l_max": 3, "sigma": 0.3}}}, "bootstrap.soap.r_cut = 3.0, now 3.1"),
    (
        {"bootstrap": {"soap": {"r_cut": 3.0, "n_max": 3, "l_max": 3, "sigma": 0.3, "compression": {"mode": "mu2"}}}},
        "bootstrap.soap.compression = .*mu2",
    ),
    ({"bootstrap": {"seeds": [{"element": "Cu", "crystal": "fcc", "a": 3.7}]}}, "bootstrap.seeds = "),
    (
        {"segment": {"sampler": {"name": "langevin", "timestep": 1.0, "friction": 0.02}}},
        "segment.sampler.timestep = 2.0, now 1.0",
    ),
    ({"segment": {"start_temperature": 500.0}}, "segment.start_temperature = 300, now 500.0"),
    ({"segment": {"schedule": [{"kind": "hold", "temperature": 301, "steps": 60}]}}, "segment.schedule = .*300 K at step 0"),
    ({"segment": {"schedule": tiny.schedule(10, 50)}}, "segment.schedule = .*300 K at step 11 of 20 run"),
    ({"segment": {"schedule": tiny.schedule(15, 0)}}, "has 15 steps, but the campaign has already run 20"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), CONTRADICTIONS)
def test_what_contradicts_the_rounds_behind_is_refused_with_old_and_new(
    begun: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        opened(begun, **changes)


_SEED = tiny.settings()["bootstrap"]["seeds"][0]

#: other ways to say what the campaign was run with
THE_SAME: list[dict[str, Any]] = [
    {"bootstrap": {"force_field_settings": {"cutoff": 4, "hidden": [8], "n_radial": 16, "batch_size": 8}}},
    {"bootstrap": {"seeds": [_SEED | {"vacancies": 0, "seed": 0, "repeat": 2}]}},
    {"bootstrap": {"soap": {"r_cut": 3, "n_max": 3, "l_max": 3, "sigma": 0.3}}},
    {"bootstrap": {"soap": {"r_cut": 3, "n_max": 3, "l_max": 3, "sigma": 0.3, "compression": {"mode": "off"}}}},
    {"bootstrap": {"min_atoms": 32, "rattle": (0.02, 0.08), "uncertainty": "soap"}},
    {"segment": {"start_temperature": 300, "fixed_atoms": []}},
    {"segment": {"sampler": {"name": "langevin", "timestep": 2, "friction": 0.02}}},
]


@pytest.mark.parametrize("changes", THE_SAME)
def test_defaults_that_are_written_down_are_no_change(begun: Path, changes: dict[str, Any]) -> None:
    assert opened(begun, **changes).changes == []


def test_what_is_left_out_at_its_default_is_stored_for_those_who_ask_what_it_was(begun: Path) -> None:
    campaign = Campaign(tiny.sqlite(begun), "tiny")
    settings = campaign.settings()
    assert settings["update.consolidate_every"] == ModelUpdateMaker().consolidate_every
    assert settings["bootstrap.force_field_settings"]["n_channels"] == default_settings("local")["n_channels"]
    assert settings["bootstrap.force_field_settings"]["hidden"] == [8]  # the config's own
    of_the_run = {"label.cores", "label.memory_gb"}
    assert {key for key in NAMES if "." in key} - of_the_run <= settings.keys()
    tables = [
        block
        for block in about(campaign, summarise(campaign)).blocks
        if block.get("title", "").startswith("Settings: ")
    ]
    assert {row[2] for block in tables for row in block["rows"]} >= {key for key in NAMES if "." in key} - of_the_run


def test_a_copied_folder_with_its_own_places_is_no_change(begun: Path, tmp_path: Path) -> None:
    copy = tiny.copied(begun, tmp_path / "copy")
    assert opened(copy).changes == []
    assert opened(copy).artifacts == str(copy / "artifacts")
    elsewhere = [entry.key for entry in opened(copy, work=str(tmp_path / "scratch")).changes]
    assert "work" in elsewhere  # a place that was asked for


def test_how_a_dataset_is_checked_may_change(begun: Path) -> None:
    assert [entry.key for entry in opened(begun, bootstrap={"dataset_check": 0}).changes] == ["bootstrap.dataset_check"]
    assert not may_change("bootstrap.dataset")


def test_all_contradictions_are_listed_in_one_line(begun: Path) -> None:
    with pytest.raises(InputError) as caught:
        opened(begun, other_structures()["silver"], seed=3, bootstrap={"strain": 0.1})
    text = str(caught.value)
    assert "\n" not in text
    assert all(key in text for key in ("structure = ", "seed = 1, now 3", "bootstrap.strain = 0.02, now 0.1"))


CHANGES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"threshold": 7.5}, "threshold", '"auto"', "7.5"),
    ({"learn": False}, "learn", "true", "false"),
    ({"max_failed_labels": 4}, "max_failed_labels", "null", "4"),
    ({"queues": {"default": "gpu"}}, "queues.default", "not set", '"gpu"'),
    ({"screen": {"max_centres": 1}}, "screen.max_centres", "2", "1"),
    ({"crop": {"max_atoms": 80}}, "crop.max_atoms", "90", "80"),
    ({"relax": {"max_steps": 6}}, "relax.max_steps", "5", "6"),
    ({"update": {"n_steps": 6}}, "update.n_steps", "5", "6"),
    ({"evaluation": {"n_frames": 4}}, "evaluation.n_frames", "3", "4"),
    ({"segment": {"check_interval": 10}}, "segment.check_interval", "5", "10"),
    (
        {"label": {"labeller": {"calculator": tiny.EMT, "reference": "E"}}},
        "label.labeller.reference", f'"{tiny.REFERENCE}"', '"E"',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "before", "after"), CHANGES)
def test_what_may_change_is_recorded_with_its_first_round(
    begun: Path, changes: dict[str, Any], key: str, before: str, after: str
) -> None:
    state = opened(begun, **changes)
    assert [entry.model_dump() for entry in state.changes] == [
        {"round": 2, "key": key, "before": before, "after": after}
    ]


def test_the_same_settings_in_other_words_are_the_same_campaign(begun: Path) -> None:
    sampler = {"name": "langevin", "timestep": 2, "friction": 0.02}
    same = opened(begun, segment={"sampler": sampler, "trajectory_interval": None})
    assert same.changes == []
    halves = [*tiny.schedule(10, 0), *tiny.schedule(10, 40)]
    (entry,) = opened(begun, segment={"schedule": halves}).changes  # the same temperatures so far
    assert entry.key == "segment.schedule"


def test_a_moved_or_renamed_seed_file_is_the_same_seed_and_another_content_is_not(tmp_path: Path) -> None:
    seed = bulk("Cu", "fcc", 3.62, cubic=True).repeat(2)
    first, second, third = (tmp_path / f"{name}.xyz" for name in ("a", "b", "c"))
    write(first, seed, format="extxyz")
    shutil.copy(first, second)
    write(third, bulk("Cu", "fcc", 3.7, cubic=True).repeat(2), format="extxyz")
    out = tmp_path / "out"
    tiny.run(out, bootstrap={"seeds": [str(first)]}, max_rounds=1)
    first.unlink()
    assert opened(out, bootstrap={"seeds": [str(second)]}).changes == []
    with pytest.raises(InputError, match=r"bootstrap\.seeds = "):
        opened(out, bootstrap={"seeds": [str(third)]})


def test_another_number_of_threads_is_said(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDEALFLOW_THREADS", "2")
    state = opened(begun)
    assert [(entry.key, entry.before, entry.after) for entry in state.changes] == [("IDEALFLOW_THREADS", "1", "2")]
    assert state.threads == 2


def test_every_setting_is_either_free_or_fixed_and_the_docs_list_the_free_ones() -> None:
    """A new key has to be thought about: the lists in the docs and here have all of them."""
    text = (Path(__file__).parents[2] / "docs" / "reference" / "config.md").read_text()
    free = text.split("## What a rerun may change")[1].split("Anything else would contradict")[0]
    maker = tiny.maker(Path("anywhere"))
    sections = {entry.name for entry in fields(maker) if isinstance(getattr(maker, entry.name), Maker)}
    for key in settings_of(maker):
        section = key.split(".")[0]
        named = f"`{key}`" in free or (section in sections and f"`{section}`" in free)
        assert may_change(key) == named, key


def test_a_refused_config_exits_with_2_and_is_not_kept(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "c.yaml", tmp_path / "out"
    shutil.copytree(begun, out)
    write(tmp_path / "frame.extxyz", tiny.frame())
    settings = {"structure": "frame.extxyz", **tiny.settings()}
    CampaignDirectory(out).write_config(settings)
    kept = (out / "config.yaml").read_text()
    rounds = Campaign(tiny.sqlite(out), "tiny").state().round
    silver = other_structures()["silver"]
    write(tmp_path / "silver.extxyz", silver)
    seeds = [{"element": "Ag", "crystal": "fcc", "a": 4.09, "cubic": True, "repeat": [2, 2, 2]}]
    config.write_text(yaml.safe_dump({"structure": "silver.extxyz", **tiny.settings(bootstrap={"seeds": seeds})}))
    assert cli.main(["run", str(config), "--out", str(out), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert 'structure = "107 atoms Cu107", now "107 atoms Ag107"' in told
    assert "bootstrap.seeds = " in told
    assert (out / "config.yaml").read_text() == kept
    assert Campaign(tiny.sqlite(out), "tiny").state().round == rounds

    config.write_text(yaml.safe_dump(settings | {"threshold": 1e6}))
    assert cli.main(["run", str(config), "--out", str(out), "--max-rounds", "1"]) == 0
    shown = capsys.readouterr()
    assert 'from round 2 on threshold = 1000000.0, before "auto"' in shown.err
    assert 'from round 2 on threshold = 1000000.0, before "auto"' in shown.out
    assert cli.main(["report", str(out)]) == 0
    shown = (out / "report.html").read_text().split("Settings that later runs changed")[1]
    assert '"threshold of the uncertainty", "\\"auto\\"", "1000000.0"' in shown


# campaigns of version 0.1.0, which stored no settings


@pytest.fixture
def of_0_1(tmp_path: Path) -> Callable[..., Path]:
    """Function that lays a stored campaign into the test's folder, changes its config, and gives its folder."""

    def unpack(name: str, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
        with tarfile.open(STORED / f"{name}.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
        config = tmp_path / f"{name}.yaml"
        settings = yaml.safe_load(config.read_text())
        change(settings)
        config.write_text(yaml.safe_dump(settings))
        return tmp_path / name

    return unpack


def run(folder: Path, *extra: str) -> int:
    return cli.main(["run", str(folder.with_suffix(".yaml")), "--out", str(folder), "--quiet", *extra])


def test_a_campaign_of_0_1_is_compared_with_the_config_in_its_folder(
    of_0_1: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def change(settings: dict[str, Any]) -> None:
        settings["structure"] |= {"element": "Ag", "a": 4.09}
        settings["bootstrap"]["strain"] = 0.03
        settings["bootstrap"]["seeds"].append(
            {"element": "Ag", "crystal": "fcc", "a": 4.09, "cubic": True, "repeat": 2}
        )

    folder = of_0_1("paused", change)
    kept = (folder / "config.yaml").read_text()
    assert run(folder) == 2
    told = capsys.readouterr().err
    assert 'structure = "107 atoms Cu107", now "107 atoms Ag107"' in told
    assert "bootstrap.strain = 0.02, now 0.03" in told
    assert (folder / "config.yaml").read_text() == kept


def opened_of_0_1(folder: Path) -> CampaignState:
    """The state under the config beside the folder, where the folder's own config is not known."""
    settings = yaml.safe_load(folder.with_suffix(".yaml").read_text())
    del settings["structure"]
    directory = CampaignDirectory(folder)
    maker = directory.placed(maker_from_settings(settings))
    store = directory.job_store()
    frame = Campaign(store, "tiny").first_frame()
    from idealflow.storage import ArtifactStore
    from idealflow.workflow.frames.encode import load_frame

    return open_state(maker, to_stored(load_frame(ArtifactStore(directory.artifacts), frame)), store)


def test_settings_that_nothing_will_run_with_are_not_taken_over(
    of_0_1: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = of_0_1("finished", lambda settings: settings.update(threshold=99.0))
    kept = (folder / "config.yaml").read_bytes()
    assert run(folder) == 0
    assert "nothing is left to run with changed settings" in capsys.readouterr().out
    assert (folder / "config.yaml").read_bytes() == kept


def test_without_that_config_the_logs_are_asked(of_0_1: Callable[..., Path]) -> None:
    folder = of_0_1("paused", lambda settings: settings["segment"]["sampler"].update(timestep=1.0))
    with pytest.raises(InputError, match=r"segment\.sampler\.timestep = 2\.0, now 1\.0"):
        opened_of_0_1(folder)
    folder = of_0_1("paused", lambda settings: settings["segment"]["schedule"][0].update(temperature=310))
    with pytest.raises(InputError, match=r"segment\.schedule = .*300 K at step .*now .*310 K"):
        opened_of_0_1(folder)
    folder = of_0_1("paused", lambda settings: settings.update(threshold=9.0))
    state = opened_of_0_1(folder)
    assert state.threshold == 9.0
    assert any("did not store the settings" in remark for remark in state.remarks)


def test_keys_that_0_1_did_not_know_are_named(of_0_1: Callable[..., Path]) -> None:
    state = opened_of_0_1(of_0_1("paused"))
    assert state.settings is not None
    assert state.changes == []
    (remark,) = [entry for entry in state.remarks if "did not know" in entry]
    assert "label.other_method" in remark
    (remark,) = [entry for entry in state.remarks if entry.startswith("uncertainties are this version's")]
    assert f"the threshold stays, {state.threshold:.4g}, where `auto` would now give " in remark


# half-done work


@contextmanager
def interrupted_at(step: int) -> Iterator[None]:
    """Ctrl-C at an MD step."""

    def interrupt(event: Progress) -> None:
        if event.stage == "segment" and event.step == step:
            raise KeyboardInterrupt

    with listening(interrupt), pytest.raises(KeyboardInterrupt):
        yield


def test_a_segment_that_was_interrupted_goes_on_under_a_longer_schedule(tmp_path: Path) -> None:
    """Stopped after a checkpoint within the segment; the whole is what the longer schedule alone gives."""
    md = {"check_interval": 1, "segment_steps": 20}
    short = {"segment": {"schedule": tiny.schedule(30, 0), **md}, "learn": False, **NO_EVALUATION}
    longer = {"segment": {"schedule": tiny.schedule(30, 15), **md}, "learn": False, **NO_EVALUATION}
    with interrupted_at(15):
        tiny.run(tmp_path / "a", **short)
    assert list((tmp_path / "a" / "work").rglob("checkpoint.npz"))
    messages: list[str] = []
    with listening(lambda event: messages.append(event.message)):
        state, campaign = tiny.run(tmp_path / "a", **longer)
    assert (state.status, state.walkers[0].step) == ("finished", 45)
    assert [message for message in messages if "it is dropped, and the segment begins anew" in message]
    assert [entry.key for entry in state.changes] == ["segment.schedule"]
    alone, _ = tiny.run(tmp_path / "b", **longer)
    assert state.walkers[0].md_state.sha256 == alone.walkers[0].md_state.sha256
    assert campaign.log()["step"].tolist() == list(range(46))


@contextmanager
def interrupted_at_label(number: int) -> Iterator[list[int]]:
    """Ctrl-C when so many labels have been computed; gives a list with an entry for each."""
    computed: list[int] = []
    whole = AseLabeller.label

    def label(self: AseLabeller, atoms: Atoms, directory: Path) -> Any:
        if len(computed) == number:
            raise KeyboardInterrupt
        computed.append(len(atoms))
        return whole(self, atoms, directory)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AseLabeller, "label", label)
        yield computed


def test_labels_of_an_interrupted_bootstrap_that_no_longer_fit_are_made_anew(tmp_path: Path) -> None:
    with interrupted_at_label(6), pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path)
    assert len(Campaign(tiny.sqlite(tmp_path), "tiny").labels()) == 6
    with interrupted_at_label(99) as computed:
        state, campaign = tiny.run(tmp_path, bootstrap={"n_structures": 4, "strain": 0.03}, max_rounds=1)
    assert len(computed) == state.n_bootstrap_labels == campaign.bootstrap().n_structures == 4
    with interrupted_at_label(99) as computed:
        tiny.run(tmp_path, bootstrap={"n_structures": 4, "strain": 0.03}, max_rounds=1)
    assert len(computed) <= 2 * 3  # of the next round only


# centres without a crop


def test_centres_without_a_crop_say_why_and_stop_the_campaign(tmp_path: Path) -> None:
    messages: list[str] = []
    changes = {"segment": {"schedule": tiny.schedule(0, 30)[1:]}, **NO_EVALUATION}
    with listening(lambda event: messages.append(event.message)):
        state, campaign = tiny.run(tmp_path, crop={"max_atoms": 20}, **changes)
    assert state.status == "failed"
    assert "for none of" in state.reason
    assert "crop.max_atoms=20" in state.reason
    assert "Raise crop.max_atoms" in state.reason
    told = [message for message in messages if "no crop: no cell holds the core" in message]
    assert len(told) == state.n_uncropped == len(campaign.substructures(state="failed")) >= 3
    assert "Raise crop.max_atoms" in told[0]
    text = summary_text(summarise(campaign))
    assert f"{state.n_failed_labels} failed: no crop: no cell holds the core" in text
    assert tiny.run(tmp_path, crop={"max_atoms": 20}, **changes)[0] == state  # nothing to do

    state, campaign = tiny.run(tmp_path, **changes)
    assert state.status == "finished"
    asked = {(doc.step, doc.atom) for doc in campaign.substructures(state="failed")}
    assert asked & {(doc.step, doc.atom) for doc in campaign.substructures(state="accepted")}  # asked for again


def test_the_first_message_of_each_kind_is_shown(begun: Path) -> None:
    shown = StringIO()
    with Display(Campaign(tiny.sqlite(begun), "tiny").state(), shown) as display:
        for atom in (3, 44, 7):
            display(Progress("crop", message=f"atom {atom} of walker 0 at step 20: no crop: why"))
        display(Progress("label", message="another"))
    lines = shown.getvalue().splitlines()
    assert [line for line in lines if "no crop" in line] == ["crop: atom 3 of walker 0 at step 20: no crop: why"]
    assert "label: another" in lines


# a bootstrap that cannot work


def test_a_species_that_no_seed_holds_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    atoms = tiny.frame()
    atoms.symbols[3] = "Ag"
    write(tmp_path / "frame.extxyz", atoms)
    config, out = tmp_path / "c.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump({"structure": "frame.extxyz", **tiny.settings()}))
    assert cli.main(["run", str(config), "--out", str(out), "--quiet"]) == 2
    told = capsys.readouterr().err
    assert "the structure has Ag, but" in told
    assert "only Cu" in told
    assert not out.exists()


def test_a_dataset_without_a_species_or_with_one_structure_is_refused(tmp_path: Path) -> None:
    maker, atoms = tiny.maker(tmp_path), bulk("Ag", "fcc", 4.09, cubic=True)
    from ase.calculators.emt import EMT

    from idealflow.workflow.campaign.checks import check_campaign

    atoms.calc = EMT()
    atoms.get_potential_energy()
    atoms.get_forces()
    for n, message in ((1, "has 1 labelled structure"), (2, "the structure has Cu, but the dataset .* only Ag")):
        write(tmp_path / "set.extxyz", [atoms] * n)
        maker.bootstrap.dataset = str(tmp_path / "set.extxyz")
        with pytest.raises(InputError, match=message):
            check_campaign(maker, tiny.frame())
