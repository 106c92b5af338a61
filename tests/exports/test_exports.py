"""Exports of a campaign: every format read back, frames with what moved them, the model, and what is never overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.db import connect
from ase.io import read

from idealflow import cli
from idealflow.core import load_uncertainty
from idealflow.core.extxyz import frame_text, write_extxyz
from idealflow.core.structure import set_label
from idealflow.exports.dataset import ISOLATED_ATOM, exported_dataset, virial
from idealflow.exports.dump import dump_text
from idealflow.exports.formats import DATASET_FORMATS
from idealflow.exports.model import write_model
from idealflow.exports.trajectory import moved_frames
from idealflow.forcefields import load_force_field
from idealflow.workflow.frames.datasets import read_dataset
from support.program import one_line

FORMATS = sorted(DATASET_FORMATS)


@pytest.fixture
def exported(finished: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., int]:
    """Export the tiny campaign; the exit status."""

    def export(*arguments: object) -> int:
        capsys.readouterr()
        return cli.main(["export", str(finished.folder), *map(str, arguments)])

    return export


def structures() -> list[Atoms]:
    """An alloy, a slab without stress and a free atom, as an export has them."""
    alloy = bulk("Cu", cubic=True) * (2, 1, 1)
    alloy.numbers[[1, 5]] = 79
    alloy.rattle(0.1, seed=0)
    slab = fcc111("Cu", (2, 2, 2), vacuum=5.0)
    slab.set_constraint()
    made = []
    for number, (atoms, kind) in enumerate(
        [(alloy, "bootstrap"), (slab, "substructure"), (Atoms("Au"), ISOLATED_ATOM)]
    ):
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        set_label(atoms, energy, forces, atoms.get_stress() if atoms.pbc.all() else None)
        atoms.info = {"campaign": "made", "config_type": kind, "request_key": f"made/{number}", "split": "train"}
        made.append(atoms)
    return made


@pytest.mark.parametrize("form", ["extxyz", "mace", "nep", "deepmd"])
def test_a_dataset_is_read_as_it_was(form: str, tmp_path: Path) -> None:
    frames, path = structures(), tmp_path / ("data" if form == "deepmd" else "data.xyz")
    DATASET_FORMATS[form](path, frames)
    found = {atoms.get_potential_energy(): atoms for atoms in read_dataset(path)}
    assert len(found) == len(frames)
    for one in frames:
        other = found[one.get_potential_energy()]
        order = np.argsort(one.get_chemical_symbols(), kind="stable") if form == "deepmd" else np.arange(len(one))
        assert other.get_chemical_symbols() == [one.symbols[i] for i in order]
        assert np.allclose(other.get_forces(), one.get_forces()[order], rtol=0, atol=1e-13)
        assert np.ptp(other.positions - one.positions[order], axis=0).max() < 1e-9  # vacuum moves all atoms alike
        assert ("stress" in other.calc.results) == ("stress" in one.calc.results)
        if "stress" in one.calc.results:
            assert np.allclose(other.get_stress(), one.get_stress(), rtol=1e-12, atol=1e-15)


def test_the_keys_that_other_programs_look_for(tmp_path: Path) -> None:
    frames = structures()
    for form in ("extxyz", "mace", "nep"):
        DATASET_FORMATS[form](tmp_path / form, frames)
    plain, mace, nep = ((tmp_path / form).read_text() for form in ("extxyz", "mace", "nep"))
    assert " origin=" not in plain  # OVITO takes it for the cell's
    assert mace.count(" REF_energy=") == mace.count(":REF_forces:R:3") == 3
    assert mace.count(" REF_stress=") == 1
    assert " energy=" not in mace
    assert f"config_type={ISOLATED_ATOM}" in mace
    assert nep.count("Lattice=") == nep.count('pbc="T T T"') == nep.count(":force:R:3") == 3
    assert nep.count(" virial=") == 1


def test_a_virial_is_the_derivative_of_the_energy() -> None:
    atoms, strain = structures()[0], 1e-5
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain * np.diag([1.0, 0, 0])), scale_atoms=True)
        strained.calc = EMT()
        energies.append(strained.get_potential_energy())
    slope = (energies[0] - energies[1]) / (2 * strain)
    assert virial(atoms, atoms.get_stress())[0, 0] == pytest.approx(-slope, abs=1e-4)


def test_extended_xyz_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    atoms = Atoms("CuAu", rng.normal(size=(2, 3)) * 1e3, cell=rng.normal(size=(3, 3)), pbc=[True, False, True])
    info = {"energy": 1 / 3, "name": 'it says "a = b"', "flag": True, "count": np.int64(3), "nothing": None}
    columns = {"forces": rng.normal(size=(2, 3)) * 1e-7, "core": np.array([True, False]), "kind": np.array([7, -1])}
    assert write_extxyz(tmp_path / "x.xyz", [(atoms, info, columns)]) == 1
    back = read(tmp_path / "x.xyz")
    assert np.array_equal(back.positions, atoms.positions)
    assert np.array_equal(back.cell, atoms.cell)
    assert back.pbc.tolist() == [True, False, True]
    assert back.get_potential_energy() == 1 / 3
    assert np.array_equal(back.get_forces(), columns["forces"])
    assert (back.info["name"], back.info["flag"], back.info["count"]) == (info["name"], True, 3)
    assert "nothing" not in back.info
    assert back.arrays["core"].tolist() == [True, False]
    assert back.arrays["kind"].tolist() == [7, -1]
    assert "Lattice" not in frame_text(Atoms("H"), {}, {})


def test_a_database_and_a_page_hold_every_label(tmp_path: Path, finished: Any) -> None:
    frames = exported_dataset(finished.campaign)
    DATASET_FORMATS["ase-db"](tmp_path / "set", frames)
    with connect(tmp_path / "set", type="db") as database:
        rows = list(database.select())
    assert [row.energy for row in rows] == [atoms.get_potential_energy() for atoms in frames]
    assert [row.request_key for row in rows] == [atoms.info["request_key"] for atoms in frames]
    assert rows[-1].data["core"] == np.flatnonzero(frames[-1].arrays["core"]).tolist()
    DATASET_FORMATS["chemiscope"](tmp_path / "page", frames)
    page = json.loads((tmp_path / "page").read_text())
    n_atoms = sum(structure["size"] for structure in page["structures"])
    assert (len(page["structures"]), n_atoms) == (len(frames), sum(map(len, frames)))
    for values in page["properties"].values():
        assert len(values["values"]) == (n_atoms if values["target"] == "atom" else len(frames))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_whatever_the_file_is_called(
    exported: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str
) -> None:
    file = tmp_path / "labels.anything"
    assert exported(file, "--format", form, "--license", "CC-BY-4.0") == 0
    card = Path(capsys.readouterr().out.splitlines()[1].removeprefix("data card: "))
    header = yaml.safe_load(card.read_text().split("---\n")[1])
    assert (header["name"], header["format"], header["license"]) == ("tiny", form, "CC-BY-4.0")
    assert header["structures"] == sum(header["structures_by_config_type"].values())
    assert header["structures_by_split"]["held_out"] == 1
    assert header["labels"]["methods"] == ["EMT (stands in for DFT)"]
    assert header["labels"]["settings"]["calculator"] == "ase.calculators.emt.EMT"

    before = file.stat().st_ino
    assert exported(file, "--format", form) == 2
    assert "give --force to replace it" in one_line(capsys)
    assert file.stat().st_ino == before
    assert exported(file, "--format", form, "--force") == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_parts_are_those_of_the_campaigns_own_training(exported: Callable[..., int], tmp_path: Path) -> None:
    keys = {}
    for part in ("all", "train", "held_out"):
        assert exported(tmp_path / f"{part}.xyz", "--part", part) == 0
        keys[part] = {atoms.info["request_key"] for atoms in read(tmp_path / f"{part}.xyz", ":")}
    assert keys["train"] | keys["held_out"] == keys["all"]
    assert not keys["train"] & keys["held_out"]
    assert len(keys["held_out"]) == 1


def test_a_folder_that_no_export_wrote_is_kept(
    exported: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: Any
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for name, told in (
        ("mine", "holds files that no export wrote"),
        ("file", "is no folder"),
        ("link", "is no folder"),
        ("no/such", "does not exist"),
        (finished.folder, "holds files that no export wrote"),
        (finished.folder / "artifacts", "only the campaign writes to"),
    ):
        assert exported(tmp_path / name, "--format", "deepmd", "--force") == 2
        assert told in one_line(capsys)
    (tmp_path / "mine" / "notes").unlink()
    assert exported(tmp_path / "mine", "--format", "deepmd") == 0
    assert (tmp_path / "mine" / "README.md").is_file()


def test_frames_carry_what_the_model_that_moved_them_knew(finished: Any) -> None:
    campaign = finished.campaign
    learners, threshold = campaign.learners(), campaign.state().threshold
    frames = {frame.atoms.info["step"]: frame for frame in moved_frames(campaign)}
    plain = campaign.trajectory()
    assert sorted(frames) == [atoms.info["step"] for atoms in plain]
    triggered = [doc for doc in campaign.segments() if doc.reason == "triggered" and doc.last_step > doc.first_step]
    assert triggered
    for segment in triggered:
        frame = frames[segment.last_step]
        assert frame.model_version == segment.model_version
        uncertainty = load_uncertainty(campaign.fetch(learners[segment.model_version].uncertainty))
        assert np.array_equal(frame.columns["uncertainty"], uncertainty(frame.atoms))
        assert np.array_equal(frame.columns["covered"], uncertainty.covered(frame.atoms, threshold))
        learned = [doc.atom for doc in campaign.substructures(step=segment.last_step, state="accepted")]
        assert np.flatnonzero(frame.columns["learned"]).tolist() == sorted(learned)
        asked = frame.columns["uncertainty"][learned]
        assert (asked > threshold).all()  # or they would not have been asked for
    for atoms in plain:
        assert np.array_equal(frames[atoms.info["step"]].atoms.positions, atoms.positions)


@pytest.mark.parametrize(("name", "form"), [("t.xyz", "extxyz"), ("t.traj", "traj"), ("t.dump", "lammps-dump-text")])
def test_a_trajectory_in_every_format(
    exported: Callable[..., int], finished: Any, tmp_path: Path, name: str, form: str
) -> None:
    assert exported(tmp_path / name, "--trajectory", "--every", "2") == 0
    found, plain = read(tmp_path / name, ":", format=form), list(finished.campaign.trajectory())[::2]
    assert len(found) == len(plain)
    for one, other in zip(plain, found, strict=True):
        assert np.allclose(other.positions, one.positions, rtol=0, atol=1e-9)
        assert np.allclose(other.get_velocities(), one.get_velocities(), rtol=0, atol=1e-9)
        if form != "lammps-dump-text":
            assert other.info["step"] == one.info["step"]
            columns = other.arrays if form == "extxyz" else other.info
            assert len(columns["uncertainty"]) == len(columns["covered"]) == len(columns["learned"]) == len(one)
    if form == "lammps-dump-text":
        heads = [line for line in (tmp_path / name).read_text().splitlines() if line.startswith("ITEM: ATOMS")]
        assert {head.split("vz ")[1] for head in heads} == {"uncertainty covered learned"}


@pytest.mark.parametrize("handed", [1, -1], ids=["right-handed", "left-handed"])
def test_a_skewed_cell_is_turned_for_lammps_and_stays_the_same(tmp_path: Path, handed: int) -> None:
    atoms = bulk("Cu") * (2, 2, 2)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(handed * atoms.cell.array)
    atoms.set_velocities(np.random.default_rng(0).normal(size=(8, 3)))
    (tmp_path / "x.dump").write_text(dump_text(atoms, 0, ["Cu"], {}))
    back = read(tmp_path / "x.dump", format="lammps-dump-text")
    assert np.allclose(back.get_all_distances(mic=True), atoms.get_all_distances(mic=True), atol=1e-9)
    assert np.allclose(np.sort(back.cell.lengths()), np.sort(atoms.cell.lengths()))
    back.calc, atoms.calc = EMT(), EMT()
    for one in (back, atoms):  # the power of the forces is the same in a turned frame, and not in a mirrored one
        one.info["power"] = (one.get_forces() * one.get_velocities()).sum(axis=1)
    assert np.allclose(back.info["power"], atoms.info["power"], atol=1e-8)
    triple = [np.linalg.det(one.get_velocities()[:3]) for one in (back, atoms)]
    assert triple[0] == pytest.approx(triple[1])


def test_a_particle_without_a_cell_is_in_the_box_of_its_dump() -> None:
    particle = Atoms("Cu3", [[-5, 0, 0], [3, 1, 0], [0, 0, 9.5]])
    low, high = np.array([line.split() for line in dump_text(particle, 0, ["Cu"], {}).splitlines()[5:8]], float).T
    assert ((high - low) >= np.ptp(particle.positions, axis=0)).all()
    text = dump_text(particle, 0, ["Cu"], {})
    assert "BOX BOUNDS ff ff ff" in text
    rows = np.array([line.split()[3:6] for line in text.splitlines()[9:]], float)
    assert (rows >= low).all()
    assert (rows <= high).all()


def test_a_model_is_one_file_and_an_ase_calculator(
    exported: Callable[..., int], finished: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "cu.ff"
    assert exported(file, "--model") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1:] == [
        "from idealflow.forcefields import load_force_field",
        f'atoms.calc = load_force_field("{file}").calculator()',
    ]
    atoms, other = finished.campaign.trajectory()[-1], finished.campaign.trajectory()[-1]
    atoms.calc, other.calc = load_force_field(file).calculator(), finished.campaign.model().calculator()
    assert np.array_equal(atoms.get_forces(), other.get_forces())
    assert exported(tmp_path / "cu.lammps", "--model", "--format", "lammps") == 2
    assert "'local' has no way to LAMMPS" in one_line(capsys)


def test_a_force_field_with_a_way_to_lammps_writes_its_file(
    monkeypatch: pytest.MonkeyPatch, finished: Any, tmp_path: Path
) -> None:
    def save_lammps(_: object, path: Path) -> str:
        path.write_text("coefficients")
        return f"pair_coeff * * {path}"

    monkeypatch.setattr(type(finished.campaign.model()), "save_lammps", save_lammps, raising=False)
    assert write_model(finished.campaign, tmp_path / "x", "lammps") == f"pair_coeff * * {tmp_path / 'x'}"
    assert (tmp_path / "x").read_text() == "coefficients"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["x.xyz", "--format", "macee"], "a dataset has no format 'macee' (did you mean 'mace'?)"),
        (["x.xyz", "--trajectory", "--format", "mace"], "a trajectory has no format 'mace'"),
        (
            ["x.xyz", "--walker", "0"],
            "--walker is for a trajectory, and here the dataset is written; leave it out, or",
        ),
        (["x.xyz", "--model", "--license", "CC0"], "--license is for a dataset, and here the model is written"),
        (["x.xyz", "--trajectory", "--walker", "7"], "has 1 walkers, counted from 0, got 7"),
        (["x.xyz", "--trajectory", "--every", "0"], "--every must be at least 1, got 0"),
        (["x.pdb", "--trajectory"], "x.pdb ends in .pdb"),
    ],
)
def test_an_impossible_export(
    exported: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], told: str
) -> None:
    assert exported(tmp_path / arguments[0], *arguments[1:]) == 2
    assert told in one_line(capsys)
    assert not list(tmp_path.iterdir())
