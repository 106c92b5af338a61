"""`idealflow check`: everything that is free, every fault in a line, and one tiny label where it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from jobflow import Maker
from pymatgen.io.vasp import Incar, Kpoints

from idealflow import AseLabeller, StaticLabeller, cli
from idealflow.errors import InputError
from idealflow.provenance import sample_campaign
from idealflow.workflow.check import check_config
from idealflow.workflow.check.costs import LabelCosts
from support import tiny
from support.program import one_line, run, write_config

CROPPED = {"n_candidates": 6, "max_atoms": 90}


def faults(config: Path, capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    """The lines of the faults that the program names, which then exits with 2."""
    assert cli.main(["check", str(config), *more]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("idealflow: ") for line in lines)
    return [line.removeprefix("idealflow: ") for line in lines]


def test_a_sound_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["check", str(config), "--label"]) == 0
    said = capsys.readouterr()
    topics = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert topics["structure"].startswith("107 atoms (107 Cu)")
    assert topics["first"].startswith("model    8 structures of 32 atoms (928 electrons)")
    assert "4.12 Å, the force field 4.00 Å" in topics["cutoffs"]
    assert "4 trial cells; budget 90 atoms" in topics["substructures"]
    assert topics["labeller"].startswith(tiny.REFERENCE)
    assert topics["label"].startswith("Cu8, 8 atoms (primitive cell of seed 0)")
    assert topics["cost"].startswith("1 measured (8 atoms")
    assert topics["nothing"] == "is wrong"
    assert said.err == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_the_reach_of_all_layers_is_told_beside_the_cutoff_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"force_field": "m3gnet-small", "force_field_settings": {"cutoff": 4.0}}
    assert cli.main(["check", str(write_config(tmp_path, bootstrap=small))]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "4.12 Å, the force field 4.00 Å in each layer and 8.00 Å in all" in said


def test_every_fault_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(
        tmp_path,
        seed=-1,
        screen={"max_centers": 2},
        relax={"max_steps": "many"},
        structure={"element": "Cu", "repaet": 2},
    )
    found = faults(config, capsys)
    named = {line.partition(":")[0].partition(" (")[0] for line in found}
    assert named == {"seed", "unknown key screen.max_centers", "relax.max_steps", "unknown key 'repaet' in structure"}
    assert len(found) == len(named)


def test_faults_of_parts_that_do_not_fit_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(
        tmp_path,
        segment={"fixed_atoms": [500]},
        bootstrap={"seeds": [{"element": "Ag"}], "force_field_settings": {"cutoff": 9.0}},
        crop={"oxidation_states": {"Ag": 1}},
        label={"labeller": {"calculator": "ase.calculators.emt.EMT", "kwargs": {"no_such": [1]}}},
    )
    found = faults(config, capsys)
    for text in (
        "got 500",
        "crop.oxidation_states",
        "the screen must see",
        "the structure has Cu, but the 8 structures",
    ):
        assert any(text in line for line in found), (text, found)


def test_the_first_fault_is_the_one_that_run_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_config(tmp_path, seed=-1, structure="nowhere.cif")
    assert run(config, tmp_path / "out") == 2
    assert one_line(capsys).removeprefix("idealflow: ").strip() == faults(config, capsys)[0]


def test_a_budget_below_the_core_is_refused_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, crop={"max_atoms": 12})
    assert run(config, tmp_path / "out") == 2
    # 18 neighbours of a copper atom lie within 4.12 Å, one less beside the vacancy
    assert "crop.max_atoms = 12 holds no crop: the atoms within 4.12 Å of one" in one_line(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("calculator", "kwargs", "species", "message"),
    [
        (tiny.EMT, {}, ["Cu", "Fe"], "EMT has no parameters of Fe, only of Al, Cu"),
        ("ase.calculators.cp2k.CP2K", {"command": "absent_cp2k -s"}, ["Li"], "'absent_cp2k' of its command"),
        ("ase.calculators.vasp.Vasp", {"command": "absent_vasp"}, ["Li"], "'absent_vasp' of its command"),
        ("ase.calculators.lj.LennardJones", {"sigm": 1}, ["Ar"], ""),
        ("support.failing_calculators.NoSuch", {}, ["Ar"], "it cannot be made"),
    ],
)
def test_what_calculators_lack(calculator: str, kwargs: dict[str, Any], species: list[str], message: str) -> None:
    labeller = AseLabeller(calculator, kwargs)
    if not message:  # ASE takes unknown settings: nothing is missing
        labeller.check_site(species)
        return
    with pytest.raises(InputError, match="cannot label on this machine") as error:
        labeller.check_site(species)
    assert message in str(error.value)


def test_a_program_of_atomate2_that_is_not_there() -> None:
    """The base class stands in for atomate2's, which takes seconds to import: its module's name is what counts."""

    class BaseCp2kMaker(Maker):
        __module__ = "atomate2.cp2k.jobs.base"

    @dataclass
    class Static(BaseCp2kMaker):
        run_cp2k_kwargs: dict[str, str]

    with pytest.raises(InputError, match="`absent_cp2k` of the command `absent_cp2k -s` is not on PATH"):
        StaticLabeller(Static({"cp2k_cmd": "absent_cp2k -s"})).check_site(["Li"])


def test_a_machine_that_cannot_label_is_a_fault_of_run_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = {"labeller": {"calculator": "ase.calculators.vasp.Vasp", "kwargs": {"command": "absent_vasp"}}}
    config = write_config(tmp_path, label=label)
    assert run(config, tmp_path / "out") == 2
    assert "'absent_vasp'" in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_queue_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = {"labeller": {"calculator": "ase.calculators.vasp.Vasp", "kwargs": {"command": "absent_vasp"}}}
    config = write_config(tmp_path, label=label)
    assert cli.main(["check", str(config), "--launchpad", str(tmp_path / "pad.yaml")]) == 2
    said = capsys.readouterr()
    assert "which no two workers share" in said.err
    assert "pad.yaml does not exist" in said.err
    assert "absent_vasp" not in said.err
    assert "(where labels are computed it may be)" in said.out


def test_a_label_that_fails_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flaws = {"fates": ["raises"], "log": str(tmp_path / "log"), "spared": 0}
    labeller = {"calculator": "support.failing_calculators.Flawed", "kwargs": flaws}
    config = write_config(tmp_path, label={"labeller": labeller})
    assert check_config(config).faults.found == []
    (line,) = faults(config, capsys, "--label")
    assert line.startswith("the tiny label of Cu8 (primitive cell of seed 0) failed: ")


@pytest.mark.parametrize("factor", [1.0, 27.2])
def test_the_tiny_label_of_a_dataset_is_compared_with_it(
    factor: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = []
    for seed in range(4):
        atoms = bulk("Cu", cubic=True) * 2
        atoms.rattle(0.1, seed=seed)
        atoms.calc = EMT()
        atoms.arrays["my_forces"] = factor * atoms.get_forces()
        atoms.info["my_energy"] = atoms.get_potential_energy()
        atoms.calc = None
        frames.append(atoms)
    write(tmp_path / "data.extxyz", frames)
    bootstrap = {"dataset": "data.extxyz", "keys": {"energy": "my_energy", "forces": "my_forces"}, "seeds": None}
    config = write_config(tmp_path, bootstrap=bootstrap)
    if factor == 1.0:
        assert cli.main(["check", str(config), "--label"]) == 0
        assert "32 atoms (structure 0 of the dataset)" in capsys.readouterr().out
    else:
        (line,) = faults(config, capsys, "--label")
        assert line.startswith("the dataset does not agree with the labeller")


def test_labels_of_a_folder_tell_what_labels_cost(tmp_path: Path) -> None:
    findings = check_config(write_config(tmp_path), out=sample_campaign().folder.path)
    assert not findings.faults.found
    lines = dict(findings.lines)
    assert "holds this campaign, which goes on" in lines["folder"]
    cost = lines["cost"]
    assert cost.startswith("16 measured (32 to 107 atoms, ")
    assert "growing as N^" in cost


def test_costs_follow_the_law_of_the_labels() -> None:
    sizes = np.array([16, 32, 54, 128])
    costs = LabelCosts(sizes.tolist(), (0.01 * sizes**2.5).tolist())
    assert costs.exponent == pytest.approx(2.5)
    assert costs.at(250) == pytest.approx((0.01 * 250**2.5,) * 2)
    assert LabelCosts([100, 120, 110, 105], [1.0, 2.0, 1.0, 1.0]).exponent is None
    assert LabelCosts([100], [3.0]).at(50) == pytest.approx((3.0 / 8, 3.0 / 2))


def test_frames_that_no_cell_fits_are_a_fault(tmp_path: Path) -> None:
    config = write_config(tmp_path, crop=CROPPED | {"max_atoms": 40})
    (fault,) = check_config(config).faults.found
    assert "no cell can be cut out of the structure, tried 4 times: around atom" in str(fault)


def test_without_learning_no_engine_is_asked_for(tmp_path: Path) -> None:
    data = [bulk("Cu", cubic=True) * 2 for _ in range(3)]
    for atoms in data:
        atoms.rattle(0.1)
        atoms.calc = EMT()
        atoms.get_forces()
    write(tmp_path / "data.extxyz", data)
    label = {"labeller": {"calculator": "ase.calculators.vasp.Vasp", "kwargs": {"command": "absent_vasp"}}}
    bootstrap = {"dataset": "data.extxyz", "seeds": None}
    config = write_config(tmp_path, label=label, bootstrap=bootstrap, learn=False, evaluation={"n_frames": 0})
    findings = check_config(config)
    assert not findings.faults.found
    assert dict(findings.lines)["labeller"].startswith("none is needed")


def test_threads_beyond_the_cores_are_worth_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDEALFLOW_THREADS", "4096")
    assert any("4096" in text for text in check_config(write_config(tmp_path)).warnings)


def test_the_files_of_vasp_are_written_ahead_and_vasp_need_not_be_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = {"labeller": {"maker": "idealflow.vasp_static", "kwargs": {"kind": "metal"}}}
    config, dry = write_config(tmp_path, label=label, crop=CROPPED), tmp_path / "dry-run"
    assert cli.main(["check", str(config), "--inputs", str(dry)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("inputs")]
    folders = sorted(dry.iterdir())
    assert [folder.name for folder in folders] == ["cell-0", "cell-1", "cell-2", "cell-3", "first"]
    assert len(lines) == len(folders)
    for folder in folders:
        written = read(folder / "POSCAR")
        assert any(f"{folder}: {len(written)} atoms" in line for line in lines)
        grid = Kpoints.from_file(folder / "KPOINTS").kpts[0]
        lengths = np.linalg.norm(written.cell.reciprocal()[:], axis=1) * 2 * np.pi
        np.testing.assert_array_equal(grid, np.ceil(lengths / 0.2 - 1e-6))
        assert Incar.from_file(folder / "INCAR")["ENCUT"] == 520
        assert (folder / "POTCAR.spec").read_text().split() == ["Cu"]
    assert max(len(read(folder / "POSCAR")) for folder in folders) <= CROPPED["max_atoms"]
    assert "exists; name another folder" in faults(config, capsys, "--inputs", str(dry))[0]


def test_files_are_written_ahead_of_vasp_alone_and_with_tags_that_it_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [fault] = faults(write_config(tmp_path), capsys, "--inputs", str(tmp_path / "dry-run"))
    assert fault.startswith("--inputs writes the files of VASP, and the labeller is")
    label = {"labeller": {"maker": "idealflow.vasp_static", "kwargs": {"kind": "metal", "incar": {"ENCAT": 300}}}}
    [fault] = faults(write_config(tmp_path, label=label), capsys, "--inputs", str(tmp_path / "dry-run"))
    assert "VASP would not take these tags: Cannot find ENCAT in the list of INCAR tags" in fault
