"""The program: exit codes, messages, and what bad input, other processes and broken disks leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ase.io import read, write
from filelock import FileLock

from idealflow import __version__, cli
from idealflow.errors import ArtifactError
from idealflow.storage import ArtifactStore
from idealflow.workflow.config.load import load_config
from idealflow.workflow.config.templates import available_templates
from support import tiny
from support.program import one_line, run

SUMMARY_KEYS = {
    "campaign", "status", "n_atoms", "n_steps", "rounds", "n_labelled_frames", "n_substructures", "n_failed_labels",
    "model_version", "t_sub_s", "t_entire_s", "t_entire_method", "L", "R_AL", "R_FPMD", "uncertainty_threshold", "wall_s",
}  # fmt: skip


CALCULATOR = {"calculator": tiny.EMT}

BAD: list[tuple[dict[str, Any], str]] = [
    ({"bootstap": {}}, "unknown key bootstap (did you mean 'bootstrap'?)"),
    ({"max_atoms": 100}, "unknown key max_atoms (it belongs in the section `crop`)"),
    ({"segment": {"timestep": 1.0}}, "unknown key segment.timestep (it belongs in `segment.sampler`)"),
    ({"label": {"calculator": "a.B"}}, "unknown key label.calculator (it belongs in `label.labeller`)"),
    ({"crop": {"seed": 1}}, "unknown key crop.seed (it belongs on the top level of the config)"),
    ({"structur": {"element": "Cu"}}, "unknown key structur (did you mean 'structure'?)"),
    ({"segment": {"check_intervall": 5}}, "unknown key segment.check_intervall (did you mean 'check_interval'?)"),
    ({"segment": {"schedule": [{"kind": "hold", "temperatur": 300, "steps": 10}]}}, "'temperatur'"),
    ({"segment": {"schedule": [{"kind": "hold", "temperature": -5, "steps": 10}]}}, "-5"),
    ({"segment": {"schedule": [{"kind": "hold", "steps": 10}]}}, "temperature"),
    ({"segment": {"schedule": []}}, "schedule"),
    ({"segment": {"sampler": {"name": "langevin", "timestp": 2.0}}}, "'timestp'"),
    ({"segment": {"sampler": {"name": "langevin", "timestep": -2.0}}}, "-2"),
    ({"segment": {"sampler": {"name": "langevine"}}}, "unknown sampler 'langevine'"),
    ({"segment": {"check_interval": 0}}, "segment.check_interval: input should be greater than or equal to 1, got 0"),
    ({"segment": {"segment_steps": 7, "check_interval": 5}}, "multiple of check_interval"),
    ({"segment": {"fixed_atoms": [500]}}, "indices of the 107 atoms, 0 to 106, got 500"),
    ({"bootstrap": {"soap": {"r_cutt": 3.0}}}, "r_cutt"),
    ({"bootstrap": {"soap": {"r_cut": -3.0, "n_max": 3, "l_max": 3, "sigma": 0.3}}}, "r_cut"),
    ({"bootstrap": {"force_field": "lokal"}}, "unknown force field 'lokal'"),
    ({"bootstrap": {"force_field_settings": {"cutof": 4.0}}}, "cutof"),
    ({"bootstrap": {"force_field_settings": {"cutoff": 9.0}}}, "the screen must see what the model sees"),
    ({"bootstrap": {"dataset": "nowhere.extxyz"}}, "nowhere.extxyz does not exist"),
    ({"bootstrap": {"campaign": "nowhere"}}, "nowhere holds no campaign"),
    ({"bootstrap": {"seeds": ["nowhere.cif"]}}, "nowhere.cif does not exist"),
    ({"bootstrap": {"rattle": [0.2]}}, "bootstrap.rattle"),
    ({"structure": "nowhere.cif"}, "nowhere.cif does not exist"),
    ({"structure": {"element": "Cu", "repaet": 2}}, "repaet"),
    ({"structure": {"element": "Cu", "vacancies": 1}}, "below the 1 atoms, got 1"),
    ({"structure": {"element": "Cu", "repeat": "two"}}, "repeat"),
    ({"structure": {"element": "Qq"}}, "unknown element 'Qq'"),
    ({"embedding": "idez"}, "embedding: input should be 'ides', 'crop', 'vacuum' or 'frame', got 'idez'"),
    ({"threshold": -1.0}, "threshold"),
    ({"crop": {"n_candidates": "many"}}, "crop.n_candidates"),
    ({"label": {"labeller": {"calcualtor": tiny.EMT}}}, "did you mean 'calculator'?"),
    ({"label": {"labeller": {"calculator": "ase.calculators.emt.ETM"}}}, "cannot import 'ase.calculators.emt.ETM'"),
    ({"label": {"labeller": CALCULATOR | {"time_limit_s": -1}}}, "time_limit_s"),
    ({"label": "EMT"}, "label must be a mapping"),
    ({"seed": -1}, "seed"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message[:32] for _, message in BAD])
def test_bad_input_is_one_message_and_writes_nothing(
    changes: dict[str, Any],
    message: str,
    config: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    path = config(**changes)
    before = sorted(tmp_path.rglob("*"))
    assert run(path, tmp_path / "out") == 2
    assert message in one_line(capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_which_frame_of_several_is_taken_is_said(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(tmp_path / "run.extxyz", [tiny.frame(), tiny.frame()])
    path = config(structure="run.extxyz", segment={"fixed_atoms": [500]})  # so that nothing runs
    assert cli.main(["run", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().out.splitlines()
    assert said == ["run.extxyz has 2 frames; the last, 1, is taken (`frame` of a structure mapping chooses another)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "must be a mapping"), ("- a\n- b\n", "must be a mapping"), ("a: [1\n", "is no YAML"), ("a: 1\n", "no `structure`"),
     ("structur: {element: Cu}\n", "no `structure` (it has `structur`)"),
     ("structure: {element: Cu}\n1: 2\n", "unknown key 1"), ],
)  # fmt: skip
def test_a_broken_config_is_one_message(
    text: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    assert run(path, tmp_path / "out") == 2
    assert message in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_missing_files_and_folders(capsys: pytest.CaptureFixture[str], finished: Any, tmp_path: Path) -> None:
    assert run(tmp_path / "no.yaml", tmp_path / "out") == 2
    assert "no.yaml does not exist" in one_line(capsys)
    for command in (["status"], ["status", "--json"], ["report"]):
        assert cli.main([*command, str(tmp_path / "out")]) == 2
        assert "holds no campaign" in one_line(capsys)
    assert cli.main(["export", str(tmp_path / "out"), str(tmp_path / "x.extxyz")]) == 2
    assert "holds no campaign" in one_line(capsys)
    assert cli.main(["export", str(finished.folder), str(tmp_path / "no" / "x.extxyz")]) == 2
    assert "does not exist; make it first" in one_line(capsys)
    assert cli.main(["init", "cu-mlet"]) == 2
    assert "available: cu-melt" in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [[], ["rnu"], ["run"], ["run", "x.yaml"], ["run", "x.yaml", "--out", "y", "--max-rounds", "0"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: idealflow" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.strip() == f"idealflow {__version__}"


@pytest.mark.parametrize("name", available_templates())
def test_init_prints_a_commented_config_that_passes_its_checks(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["init", name]) == 0
    text = capsys.readouterr().out
    assert "#" in text
    path = tmp_path / "campaign.yaml"
    path.write_text(text)
    maker, atoms, _ = load_config(path)
    assert len(atoms) >= 499
    expected = {"cu-melt": "EMT (stands in for DFT)", "li-melt": "VASP PBE"}
    assert maker.label.method == expected[name]


def test_a_finished_campaign_is_left_alone_and_says_so(
    finished: Any, config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = finished.campaign.store.count({})
    assert run(config(), finished.folder) == 0
    assert "is finished: the schedule is done; nothing to do" in capsys.readouterr().out
    assert finished.campaign.store.count({}) == before
    assert run(config(threshold=1e5), finished.folder) == 0  # nothing left that another threshold could change
    assert "is finished" in capsys.readouterr().out
    assert finished.campaign.store.count({}) == before


def test_status_prints_the_contracts_keys(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", str(finished.folder), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert set(summary) >= SUMMARY_KEYS
    assert (summary["status"], summary["n_atoms"], summary["n_steps"]) == ("finished", 107, 60)
    assert summary["n_substructures"] == len(finished.campaign.substructures(state="accepted"))
    assert summary["L"] == summary["n_substructures"] / summary["n_labelled_frames"]
    assert summary["R_AL"] == pytest.approx(summary["t_entire_s"] / (summary["t_sub_s"] * summary["L"]))
    assert summary["R_FPMD"] == pytest.approx(summary["R_AL"] * summary["n_steps"] / summary["n_labelled_frames"])
    assert cli.main(["status", str(finished.folder)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("campaign tiny: finished")
    assert "EMT (stands in for DFT)" in text


def test_export_holds_every_label_with_its_provenance(
    finished: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "labels.extxyz"
    assert cli.main(["export", str(finished.folder), str(file)]) == 0
    frames, docs = read(file, ":"), finished.campaign.substructures(state="accepted")
    assert len(frames) == 8 + len(docs)
    by_uuid = {atoms.info["uuid"]: atoms for atoms in frames if "uuid" in atoms.info}
    for doc in docs:
        atoms = by_uuid[doc.uuid]
        assert atoms.get_potential_energy() == pytest.approx(doc.energy, abs=1e-6)
        assert (atoms.info["step"], atoms.info["atom"], atoms.info["label_origin"]) == (
            doc.step,
            doc.atom,
            "substructure",
        )
        assert atoms.arrays["core"].sum() == len(doc.core)


def test_report_writes_a_page_with_figures(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(finished.folder)]) == 0
    page = finished.folder / "report.html"
    assert str(page) in capsys.readouterr().out
    text = page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert "EMT (stands in for DFT)" in text
    assert "nan" not in text.lower().split("<svg")[0].split()


def test_run_pauses_goes_on_and_reaches_the_drivers_result(
    finished: Any, config: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, out = config(), tmp_path / "out"
    assert run(path, out, "--max-rounds", "2") == 0
    assert "paused" in capsys.readouterr().out
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["status"], summary["rounds"]) == ("paused", 2)
    assert cli.main(["status", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "paused"

    with FileLock(out / ".lock"):  # as another process would hold it
        assert run(path, out) == 1
        assert "another process is running the campaign" in one_line(capsys)
        assert cli.main(["status", str(out), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["status"] == "running"

    stored = (out / "config.yaml").read_text()
    assert run(config(seed=2), out) == 2
    assert "seed = 1, now 2" in one_line(capsys)
    assert run(config(campaign="other"), out) == 2
    assert "holds the campaign 'tiny', the config names 'other'" in one_line(capsys)
    assert (out / "config.yaml").read_text() == stored

    assert run(config(), out) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "finished"
    assert summary["model_sha256"] == finished.state.learner.force_field.sha256
    assert (out / "report.html").exists()
    assert not [entry for entry in (out / "work").rglob("*") if entry.is_file()]


def test_the_display_names_step_temperature_uncertainty_and_labels(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = config(segment={"schedule": tiny.schedule(0, 20)[1:]}, evaluation={"n_frames": 0})
    assert cli.main(["run", str(path), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().err
    assert "step 20" in shown.replace("20/20", "step 20")
    assert " K" in shown
    assert "label" in shown
    assert "\x1b[" not in shown  # no terminal codes in a log file


def test_a_failed_campaign_exits_with_1(
    config: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = config(
        segment={"sampler": {"name": "nve", "timestep": 60.0}, "schedule": tiny.schedule(20, 0)},
        evaluation={"n_frames": 0},
    )
    assert run(path, tmp_path / "out") == 1
    assert "blow-up 6 in a row of walker 0" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["status"] == "failed"
    assert run(path, tmp_path / "out") == 1
    assert "nothing to do" in capsys.readouterr().out


@pytest.fixture
def paused(finished: Any, config: Callable[..., Path], tmp_path: Path) -> Path:
    """A campaign of its own, three rounds old."""
    assert run(config(), tmp_path / "out", "--max-rounds", "3") == 0
    return tmp_path / "out"


def contents(folder: Path) -> dict[str, bytes]:
    """All files that a campaign must not lose, by name."""
    kept = [path for path in (folder / "artifacts").rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in kept}


@pytest.mark.parametrize("what", ["md_state", "force_field", "uncertainty", "ledger"])
def test_a_truncated_artifact_is_a_clear_error_and_nothing_is_overwritten(
    what: str, paused: Path, config: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    from idealflow.workflow.folder.directory import CampaignDirectory

    directory = CampaignDirectory(paused)
    state = directory and cli_state(directory)
    artifact = state.walkers[0].md_state if what == "md_state" else getattr(state.learner, what)
    path = paused / "artifacts" / artifact.path
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[: len(whole) // 2])
    before = contents(paused)
    capsys.readouterr()
    # in another process: this one has already verified the file
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "idealflow.cli", "run", str(config()), "--out", str(paused), "--quiet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert artifact.path.split("/")[-1] in done.stderr
    assert "Traceback" not in done.stderr
    after = contents(paused)
    assert {name: after[name] for name in before} == before
    stopped = cli_state(directory)  # what does not need the file may have been done before
    assert (stopped.status, stopped.learner, stopped.n_substructures) == (
        state.status,
        state.learner,
        state.n_substructures,
    )
    path.write_bytes(whole)
    assert run(config(), paused) == 0


def cli_state(directory: Any) -> Any:
    from idealflow import Campaign

    return Campaign(directory.job_store(), directory.campaign_name()).state()


def test_a_damaged_store_is_a_clear_error_and_is_left_as_it_is(
    paused: Path, config: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copy(paused / "config.yaml", broken)
    with contextlib.closing(sqlite3.connect(paused / "store.sqlite")) as whole:
        whole.execute("VACUUM INTO ?", (str(broken / "store.sqlite"),))
    before = (broken / "store.sqlite").read_bytes()
    before = before[: len(before) // 2]
    (broken / "store.sqlite").write_bytes(before)
    capsys.readouterr()
    assert run(config(), broken) in (1, 2)
    assert "store.sqlite" in one_line(capsys)
    assert (broken / "store.sqlite").read_bytes() == before


LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
from idealflow.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("kilobytes", [8, 60, 400])
def test_a_full_disk_is_a_clear_error_and_the_campaign_goes_on_afterwards(
    kilobytes: int, finished: Any, config: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No file may grow beyond a limit, as on a full disk: at the first write, in MD, in the store."""
    path, out = config(), tmp_path / "out"
    # what measures the tests' coverage would write files too
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIMITED, str(kilobytes * 1000), "run", str(path), "--out", str(out), "--quiet"],
        capture_output=True, text=True, check=False, env=environment | {"NUMBA_CACHE_DIR": str(tmp_path / "numba")},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("idealflow: ")
    assert any(word in done.stderr for word in ("disk", "large", "space")), done.stderr
    assert run(path, out) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["model_sha256"] == finished.state.learner.force_field.sha256


def test_a_moved_campaign_goes_on(paused: Path, finished: Any, config: Callable[..., Path], tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "out"
    moved.parent.mkdir()
    paused.rename(moved)
    assert run(config(), moved) == 0
    assert not paused.exists()
    summary = json.loads((moved / "summary.json").read_text())
    assert summary["model_sha256"] == finished.state.learner.force_field.sha256


def test_a_verified_artifact_store_refuses_what_is_not_its_own(finished: Any, tmp_path: Path) -> None:
    store = ArtifactStore(str(finished.folder / "artifacts"))
    foreign = finished.state.learner.ledger.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ArtifactError):
        store.get(foreign)
