"""`idealflow evaluate --out`: any two models on any frames, while a campaign runs, and nothing written to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import write

from idealflow import AseLabeller, LabelMaker, cli
from idealflow.errors import InputError
from idealflow.provenance import Campaign
from idealflow.workflow.drivers.comparing import label_frames
from idealflow.workflow.folder.directory import CampaignDirectory
from support import tiny


def compared(out: Path) -> dict[str, Any]:
    return json.loads((out / "comparison.json").read_text())


def contents(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_first_and_last_model_while_the_campaign_runs(
    finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tiny.copied(finished.folder, tmp_path / "campaign"), tmp_path / "compared"
    before = contents(folder)
    with CampaignDirectory(folder).locked():  # as a process that runs it does
        assert cli.main(["evaluate", str(folder)]) == 1
        assert "another process is running" in capsys.readouterr().err
        assert cli.main(["evaluate", str(folder), "--out", str(out), "--frames", "4"]) == 0
    assert {name: time for name, time in contents(folder).items() if not name.endswith(".lock")} == before
    said = capsys.readouterr().out
    assert f"4 frames labelled with {tiny.REFERENCE}" in said
    result = compared(out)
    assert [row["step"] for row in result["frames"]] == [5, 20, 40, 55]
    campaign = Campaign.open(folder)
    for row, frame in zip(result["frames"], [campaign.trajectory()[i] for i in (1, 4, 8, 11)], strict=True):
        for name, version in (("first", 0), ("last", None)):  # the oracle: both calculators, one after the other
            frame.calc = campaign.model(version).calculator()
            energy, forces = frame.get_potential_energy(), frame.get_forces()
            frame.calc = EMT()
            assert row[name]["force"] == pytest.approx(np.abs(forces - frame.get_forces()).mean())
            assert row[name]["energy"] == pytest.approx((energy - frame.get_potential_energy()) / len(frame))
    mean = result["means"]["last"]
    assert mean["force_mae"] == pytest.approx(np.mean([row["last"]["force"] for row in result["frames"]]))
    assert f"last: energy {1e3 * mean['energy_mae']:.2f}" in said


def test_models_and_frames_of_anywhere_each_labelled_once(
    finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = str(finished.folder), tmp_path / "compared"
    frames = finished.campaign.trajectory()[:3]
    file, model = tmp_path / "frames.traj", tmp_path / "model.pt"
    write(file, [*frames, frames[0]])
    finished.campaign.model(1).save(model)
    asked = ["evaluate", folder, "--out", str(out), "--models", f"{folder}:1", str(model), "--on", str(file)]
    labelled: list[int] = []
    compute = AseLabeller.compute
    monkeypatch.setattr(
        AseLabeller, "compute", lambda self, atoms: (labelled.append(len(atoms)), compute(self, atoms))[1]
    )
    assert cli.main([*asked, "--frames", "99"]) == 0
    assert len(labelled) == 3  # one of the four is there twice
    assert len(compared(out)["frames"]) == 4
    one, other = compared(out)["means"].values()
    assert one == other  # the same version, by folder and by file
    assert cli.main([*asked, "--frames", "99"]) == 0
    assert cli.main(["evaluate", folder, "--out", str(out), "--on", folder, "--models", "0", "last"]) == 0
    assert len(labelled) == 3 + 4  # of the five new frames the one of step 5 is the file's second
    assert set(compared(out)["means"]) == {"0", "last"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--models", "first", "last"], "--models compares in a folder of its own; add --out FOLDER"),
        (["--on", "x"], "--on compares in a folder of its own; add --out FOLDER"),
        (["--out", "{out}", "--models", "first", "lst"], "no model 'lst': give first, last, a version"),
        (["--out", "{out}", "--models", "first", "77"], r"has models 0 to \d+, got 77"),
        (["--out", "{out}", "--on", "nowhere"], "--on nowhere is neither a campaign's folder nor a file"),
        (["--out", "{out}", "--on", "{out}.txt"], r"--on .*txt cannot be read"),
        (["--out", "{folder}"], "holds a campaign, which a comparison must not write to"),
    ],
)
def test_bad_input_is_told_in_a_line(
    finished: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    out = tmp_path / "compared"
    out.with_suffix(".txt").write_text("no structure")
    given = [text.format(out=out, folder=finished.folder) for text in options]
    assert cli.main(["evaluate", str(finished.folder), *given]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said)
    assert not out.exists()


def test_what_can_not_be_labelled_is_told_and_the_others_count(finished: Any, tmp_path: Path) -> None:
    frames = [tiny.frame(), tiny.frame()]
    frames[0].numbers[:] = 92  # which EMT does not know
    found, failed = label_frames(LabelMaker(AseLabeller(tiny.EMT)), frames, tmp_path / "labels")
    assert found[0] is None
    assert list(failed) == [0]
    assert failed[0].startswith("EMT: ")
    assert found[1].get_forces().shape == (107, 3)
    with pytest.raises(InputError, match="holds a campaign"):
        label_frames(LabelMaker(AseLabeller(tiny.EMT)), frames, finished.folder)
