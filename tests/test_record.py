"""The program keeps what is not its own, finds what is, looks without writing, and evaluates when asked."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase.calculators.emt import EMT
from ase.io import read

from idealflow import Campaign, cli
from idealflow.workflow.config.load import load_config
from idealflow.workflow.folder.directory import CampaignDirectory
from support import tiny
from support.program import one_line, run

SHORT: dict[str, Any] = {"segment": {"schedule": tiny.schedule(10, 0)}, "evaluation": {"n_frames": 0}}


@pytest.fixture
def copied(finished: Any, tmp_path: Path) -> Path:
    return tiny.copied(finished.folder, tmp_path / "out")


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its content and time."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


# files that are not ours


@pytest.mark.parametrize("force", [False, True])
def test_export_never_writes_over_the_campaign(copied: Path, capsys: pytest.CaptureFixture[str], force: bool) -> None:
    (copied / "link.extxyz").symlink_to(copied / "store.sqlite")
    os.link(copied / "store.sqlite", copied / "hard.extxyz")
    before = contents(copied)
    artifact = next(path for path in (copied / "artifacts").rglob("*") if path.is_file())
    for name in ("store.sqlite", "store.sqlite-wal", "config.yaml", "config.idealflow.yaml", "summary.json", "report.html",
                 ".lock", "link.extxyz", "hard.extxyz", "artifacts/new.extxyz", "work/new.extxyz",
                 str(artifact.relative_to(copied)), "artifacts/../store.sqlite"):  # fmt: skip
        for command in (
            ["export", str(copied), str(copied / name)],
            ["report", str(copied), "--to", str(copied / name)],
        ):
            assert cli.main([*command, *["--force"][: int(force)]]) == 2, name
            told = one_line(capsys)
            assert any(part in told for part in ("never overwritten", "only the campaign writes", "does not exist")), (
                told
            )
    assert contents(copied) == before


def test_export_replaces_an_existing_file_only_when_told_to(
    copied: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "labels.extxyz"
    file.write_text("mine")
    assert cli.main(["export", str(copied), str(file)]) == 2
    assert "exists and is kept; choose another name, or give --force" in one_line(capsys)
    assert file.read_text() == "mine"

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:  # written beside and renamed: what was there survives a full disk
        patch.setattr("idealflow.core.extxyz.frame_text", fails)
        assert cli.main(["export", str(copied), str(file), "--force"]) == 1
    one_line(capsys)
    assert file.read_text() == "mine"
    assert cli.main(["export", str(copied), str(file), "--force"]) == 0
    assert len(read(file, ":")) == len(Campaign.open(copied).dataset())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.card.md", "labels.extxyz", "out"]
    assert cli.main(["export", str(copied), str(copied / "labels.extxyz")]) == 0  # beside the campaign's files is fine


@pytest.mark.parametrize("same", [True, False], ids=["the config itself", "another file"])
def test_a_config_of_the_users_in_the_folder_is_kept(
    config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], same: bool
) -> None:
    out = tmp_path if same else tmp_path / "out"
    out.mkdir(exist_ok=True)
    given = config("config.yaml" if same else "campaign.yaml", **SHORT)
    text = given.read_text() + "# my own notes\n" if same else "something: else\n"
    (out / "config.yaml").write_text(text)
    assert run(given, out, "--max-rounds", "1") == 0
    assert "config.yaml in " in (told := capsys.readouterr().out)
    assert "is not idealflow's and is kept; what runs is in config.idealflow.yaml" in told
    assert (out / "config.yaml").read_text() == text
    assert yaml.safe_load((out / "config.idealflow.yaml").read_text())["structure"] == str(tmp_path / "frame.extxyz")
    assert cli.main(["status", str(out)]) == 0
    assert capsys.readouterr().out.startswith("campaign tiny: paused")
    assert run(given, out) == 0
    assert (out / "config.yaml").read_text() == text


def test_the_kept_config_is_replaced_until_somebody_edits_it(copied: Path, config: Callable[..., Path]) -> None:
    ours = copied / "config.yaml"
    assert CampaignDirectory(copied).config_path == ours
    first = ours.read_text()
    # as earlier versions wrote it, without a signature
    plain = first.partition("\n")[2]
    ours.write_text(plain)
    assert CampaignDirectory(copied).config_path == ours
    assert run(config(), copied) == 0
    assert ours.read_text().startswith("# Kept by idealflow")
    assert not (copied / "config.idealflow.yaml").exists()
    edited = ours.read_text().replace("seed: 1", "seed: 1  # why not")
    ours.write_text(edited)
    assert run(ours, copied) == 0
    assert ours.read_text() == edited
    assert CampaignDirectory(copied).config_path == copied / "config.idealflow.yaml"
    assert CampaignDirectory(copied).campaign_name() == "tiny"
    for text in (plain + "#", "- a\n", "a: [", "\x00"):
        ours.write_text(text)
        assert CampaignDirectory(copied).config_path != ours


@pytest.mark.parametrize("name", ["summary.json", "report.html", "figures/temperature.png"])
def test_other_files_in_the_campaigns_places_are_refused_before_anything_is_written(
    config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out, given = tmp_path / "out", config(**SHORT)
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text('{"my": "own"}')
    before = contents(tmp_path)
    assert run(given, out) == 2
    assert "was not written by idealflow, and a run would replace it" in one_line(capsys)
    assert contents(tmp_path) == before


def test_a_report_of_somebody_elses_is_not_replaced(
    copied: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (copied / "report.html").write_text("<title>My thesis</title>")
    before = contents(copied)
    assert cli.main(["report", str(copied)]) == 2
    assert "was not written by idealflow; move it away, or write elsewhere with --to" in one_line(capsys)
    assert cli.main(["report", str(copied), "--to", str(tmp_path / "page.html")]) == 0
    assert contents(copied) == before
    page = (tmp_path / "page.html").read_text()
    assert '"title": "Uncertainty against force error"' in page
    assert page.count('"kind": "figure"') >= 10
    assert "several methods" not in page


# artifacts elsewhere


def test_artifacts_lie_beside_the_config_and_every_reader_finds_them(
    config: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    out, given = tmp_path / "out", config(artifacts="files/large", work="scratch", **SHORT)
    assert load_config(given)[0].artifacts == str(tmp_path / "files" / "large")
    assert run(given, out) == 0
    assert (out / "report.html").exists()
    assert not (out / "artifacts").exists()
    assert (tmp_path / "scratch").is_dir()
    assert list(elsewhere.iterdir()) == []
    campaign = Campaign.open(out)
    assert campaign.artifacts.url == str(tmp_path / "files" / "large")
    assert len(campaign.trajectory()) == 3
    assert cli.main(["report", str(out)]) == 0
    assert cli.main(["export", str(out), str(tmp_path / "files" / "large" / "x.extxyz")]) == 2
    assert "only the campaign writes to" in capsys.readouterr().err
    # a new campaign starts from it
    later = config("later.yaml", **SHORT)
    settings = yaml.safe_load(later.read_text())
    later.write_text(yaml.safe_dump(settings | {"campaign": "later", "bootstrap": {"campaign": "out"}}))
    assert run(later, tmp_path / "later") == 0


def test_a_campaign_whose_artifacts_lay_elsewhere_is_continued_there(
    config: Callable[..., Path], tmp_path: Path
) -> None:
    """Until version 0.1 the folder was taken relative to the working directory."""
    out = tmp_path / "out"
    assert run(config(artifacts=str(tmp_path / "cwd" / "files"), **SHORT), out, "--max-rounds", "1") == 0
    assert run(config(artifacts="files", **SHORT), out) == 0
    assert not (tmp_path / "files").exists()
    assert Campaign.open(out).artifacts.url == str(tmp_path / "cwd" / "files")
    assert len(Campaign.open(out).trajectory()) == 3


# looking


def test_a_read_only_campaign_can_be_looked_at(copied: Path, tmp_path: Path) -> None:
    """In a process without root's rights; others may enter the folder, unlike pytest's own."""
    # once with all rights: others may not read Python's own files, so what is imported late must be there before
    assert cli.main(["status", str(copied)]) == 0
    assert cli.main(["export", str(copied), str(tmp_path / "before.extxyz")]) == 0
    assert cli.main(["report", str(copied), "--to", str(tmp_path / "before.html")]) == 0
    with tempfile.TemporaryDirectory() as name:
        folder, made = Path(name) / "campaign", Path(name) / "made"
        shutil.copytree(copied, folder)
        (folder / ".lock").write_text("")
        made.mkdir()
        made.chmod(0o777)
        Path(name).chmod(0o755)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = contents(folder)
        child = os.fork()
        if child == 0:
            codes = [99]
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                with Path(os.devnull).open("w") as nowhere:
                    os.dup2(nowhere.fileno(), 1)
                codes = [
                    cli.main(["status", str(folder)]),
                    cli.main(["status", str(folder), "--json"]),
                    cli.main(["export", str(folder), str(made / "labels.extxyz")]),
                    cli.main(["report", str(folder), "--to", str(made / "page.html")]),
                    cli.main(["report", str(folder)]) - 2,  # bad input: there is no room for it
                ]
            finally:
                os._exit(max(codes))
        assert os.waitpid(child, 0)[1] == 0
        assert contents(folder) == before
        assert len(read(made / "labels.extxyz", ":")) > 8
        assert "<title>Campaign tiny" in (made / "page.html").read_text()
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)


def test_looking_opens_nothing_to_write(copied: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = contents(copied)
    assert cli.main(["status", str(copied)]) == 0
    assert cli.main(["export", str(copied), str(tmp_path / "x.extxyz")]) == 0
    assert cli.main(["report", str(copied), "--to", str(tmp_path / "x.html")]) == 0
    assert contents(copied) == before
    assert "finished" in capsys.readouterr().out


# evaluation when asked


def test_an_evaluation_when_asked_changes_nothing_of_the_campaign(
    config: Callable[..., Path], finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["evaluate", str(out)]) == 2
    assert "holds no campaign" in one_line(capsys)
    assert run(config(), out, "--max-rounds", "1") == 0
    capsys.readouterr()
    assert cli.main(["evaluate", str(out)]) == 2
    assert "has stored no frame yet; let it run a round" in one_line(capsys)
    assert run(config(), out, "--max-rounds", "4") == 0
    before = Campaign.open(out).state()
    capsys.readouterr()
    assert cli.main(["evaluate", str(out), "--frames", "2"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"campaign tiny: 2 whole frames labelled with {tiny.REFERENCE}")
    assert "meV/atom, absolute (signed)" in told
    assert Campaign.open(out).state() == before
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["status"], sum(entry["n_frames"] for entry in summary["evaluation"])) == ("paused", 2)
    n = Campaign.open(out).store.count({"output.origin": "evaluation"})
    assert n == 2
    assert cli.main(["evaluate", str(out), "--frames", "2"]) == 0  # the same again: nothing is labelled twice
    assert Campaign.open(out).store.count({"output.origin": "evaluation"}) == n

    assert run(config(), out) == 0
    state = Campaign.open(out).state()
    for name in ("learner", "round", "walkers", "n_substructures", "n_labelled_frames", "recent_failures", "status"):
        mine, other = getattr(state, name), getattr(finished.state, name)
        assert mine == other, name
    # the campaign's own evaluation is the one that counts, until another is asked for
    assert Campaign.open(out).evaluation().frames == finished.campaign.evaluation().frames
    assert cli.main(["evaluate", str(out), "--frames", "5"]) == 0
    assert len(Campaign.open(out).evaluation().frames) == 5
    assert Campaign.open(out).state() == state
    n_stored = len(Campaign.open(out).trajectory())
    capsys.readouterr()
    assert cli.main(["evaluate", str(out), "--frames", "500"]) == 0
    assert f"500 frames were asked for, but the trajectory so far has {n_stored}: all" in capsys.readouterr().err


def test_the_evaluation_has_the_frames_own_temperatures_and_signed_energy_errors(finished: Any) -> None:
    from idealflow.report import summarise

    doc, frames = finished.campaign.evaluation(), {a.info["step"]: a for a in finished.campaign.trajectory()}
    errors: dict[int, list[float]] = {}
    models = [finished.campaign.model().calculator()]
    for frame in doc.frames:
        atoms = frames[frame.step]
        assert frame.temperature_md == atoms.info["temperature"] != frame.temperature
        reference = EMT().get_potential_energy(atoms)
        errors.setdefault(frame.stage, []).append((models[0].get_potential_energy(atoms) - reference) / len(atoms))
    for entry in summarise(finished.campaign)["evaluation"]:
        mine = 1e3 * np.array(errors[entry["stage"]])
        assert entry["energy_me_last_meV_per_atom"] == pytest.approx(mine.mean(), rel=1e-6)
        assert entry["energy_mae_last_meV_per_atom"] == pytest.approx(np.abs(mine).mean(), rel=1e-6)
        had = [frame.temperature_md for frame in doc.frames if frame.stage == entry["stage"]]
        assert entry["temperature"] == pytest.approx(np.mean(had))


def test_an_evaluation_of_an_earlier_version_is_still_summarised(
    finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from idealflow.report import summarise
    from idealflow.schemas import EvaluationDoc

    data = finished.campaign.evaluation().model_dump()
    for frame in data["frames"]:
        del frame["temperature_md"]
    old = EvaluationDoc.model_validate(data)
    monkeypatch.setattr(Campaign, "evaluation", lambda _: old)
    for entry in summarise(finished.campaign)["evaluation"]:
        assert entry["temperature"] == entry["temperature_target"]
