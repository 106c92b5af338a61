"""A dataset is compared with the labeller before the first fit: each label once, one line where they disagree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from idealflow import Campaign, cli
from idealflow.schemas import BootstrapDoc, CampaignState
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.frames.build import perturbed
from support import tiny

COUNTED = "support.counting.CountedEMT"


def labelled(n: int, stress_factor: float = 1.0) -> list[Any]:
    """Small cells of copper with EMT's labels."""
    frames = []
    seed = tiny.settings()["bootstrap"]["seeds"][0]
    from idealflow.workflow.frames.build import build_structure

    for i in range(n):
        atoms = perturbed(
            build_structure(seed), np.random.default_rng(i), min_atoms=32, rattle=(0.05, 0.1), strain=0.03
        )
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **results | {"stress": stress_factor * results["stress"]})
        frames.append(atoms)
    return frames


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Write a dataset and the config of a short campaign from it, run that in one folder; the exit status."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def run(stress_factor: float = 1.0, labeller: dict[str, Any] | None = None, **bootstrap: Any) -> int:
        write(tmp_path / "d.xyz", labelled(6, stress_factor), format="extxyz")
        write(tmp_path / "frame.extxyz", tiny.frame())
        settings = tiny.settings(
            bootstrap={"seeds": None, "dataset": "d.xyz", "fit_steps": 5, **bootstrap},
            segment={"schedule": tiny.schedule(10, 0), "segment_steps": 10},
            label={"labeller": labeller or {"calculator": COUNTED, "kwargs": {"log": str(tmp_path / "log")}}},
            evaluation={"n_frames": 0},
            threshold=1e6,
        )
        (tmp_path / "c.yaml").write_text(yaml.safe_dump({"structure": "frame.extxyz", **settings}))
        return cli.main(["run", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "out"), "--quiet"])

    return run


def computed(folder: Path) -> int:
    log = folder / "log"
    return len(set(log.read_text().split())) if log.exists() else 0


def stored(folder: Path) -> Campaign:
    directory = CampaignDirectory(folder / "out")
    return Campaign(directory.job_store(), "tiny")


def test_a_stress_in_kbar_is_refused_once_the_labels_are_kept_and_the_mended_dataset_goes_on(
    campaign: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert campaign(1602.1766) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1
        assert "d.xyz does not agree with the labeller, CountedEMT, on structures" in text
        assert "kbar would explain it, a factor of 1602.2; mend the file or bootstrap.keys" in text
        assert "forces" not in text
        assert computed(tmp_path) == 2
        assert (tmp_path / "log").read_text().count("\n") == 2  # the second run met the stored labels
    assert stored(tmp_path).state() is None

    assert campaign() == 0
    assert "the dataset agrees with the labeller, CountedEMT, on structures" in capsys.readouterr().out
    assert computed(tmp_path) == 2  # of the same structures: the labels were there
    checks = stored(tmp_path).labels(origin="check")
    assert [doc.state for doc in checks] == ["accepted"] * 2
    state, doc = stored(tmp_path).state(), stored(tmp_path).bootstrap()
    assert (doc.n_labelled_here, state.n_bootstrap_labels) == (2, 0)
    assert doc.n_structures == 6
    assert state.notes == doc.notes
    assert len(state.notes) == 1
    assert all(f"{what} to " in state.notes[0] for what in ("constant per species", "forces", "stresses"))
    assert stored(tmp_path).labels_by_method() == {}
    assert {atoms.info["origin"] for atoms in stored(tmp_path).dataset()} == {
        "dataset"
    }  # labels of the check are not learned


def test_a_labeller_that_fails_is_said_and_asked_again(
    campaign: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "moody.py").write_text(
        "from pathlib import Path\nfrom ase.calculators.emt import EMT\n"
        "class Moody(EMT):\n    def __init__(self, flag):\n        super().__init__()\n        self.flag = flag\n"
        "    def calculate(self, *args):\n        if not Path(self.flag).exists():\n"
        "            raise RuntimeError('no licence')\n        super().calculate(*args)\n"
    )
    labeller = {"calculator": "moody.Moody", "kwargs": {"flag": str(tmp_path / "flag")}}
    assert campaign(labeller=labeller) == 1
    text = capsys.readouterr().err
    assert "cannot be compared with the labeller, all 2 labels failed: 2× Moody: RuntimeError: no licence" in text
    assert "set bootstrap.dataset_check to 0" in text
    (tmp_path / "flag").touch()
    assert campaign(labeller=labeller) == 0
    assert [doc.state for doc in stored(tmp_path).labels(origin="check")] == ["accepted"] * 2


def test_without_a_check_nothing_is_labelled_and_it_is_said(campaign: Callable[..., int], tmp_path: Path) -> None:
    assert campaign(1602.1766, dataset_check=0) == 0
    assert computed(tmp_path) == 0
    assert stored(tmp_path).state().notes == ["the dataset was not compared with the labeller"]


def test_documents_of_before_are_still_read(finished: Any) -> None:
    state = finished.state.model_dump()
    doc = finished.campaign.bootstrap().model_dump()
    del state["notes"], doc["notes"]
    assert CampaignState.model_validate(state).notes == []
    assert BootstrapDoc.model_validate(doc).notes == []
