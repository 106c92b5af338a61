"""`idealflow init --structure`: a config that runs as written, whose values follow the rules that stand beside them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.io import write

from idealflow import cli
from idealflow.core import SOAP
from idealflow.structures import cell_around, particle, slab
from idealflow.structures.charges import oxidation_states
from idealflow.workflow.check import check_config
from idealflow.workflow.config.load import load_config
from idealflow.workflow.config.templates.for_structure import config_for
from idealflow.workflow.config.templates.rules import local_volume
from support.program import one_line


def written(folder: Path, atoms: Atoms, engine: str = "ase", name: str = "my.extxyz") -> Path:
    """The config that is written for a structure, in a folder of its own."""
    write(folder / name, atoms)
    config = folder / "configs" / "c.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(config_for(folder / name, engine))
    return config


def liquid() -> Atoms:
    atoms = bulk("Cu", cubic=True) * 5
    atoms.rattle(0.15, seed=1)
    return atoms


def test_a_unit_cell_is_repeated_and_passes_every_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "POSCAR", bulk("Cu", cubic=True))
    assert cli.main(["init", "--structure", str(tmp_path / "POSCAR"), "--engine", "ase"]) == 0
    config = tmp_path / "c.yaml"
    config.write_text(capsys.readouterr().out)
    maker, atoms, _ = load_config(config)
    assert len(atoms) == 864  # 3.5 cutoffs of 5.49 Å are 19.2 Å, of six cells
    assert maker.label.method == "EMT (stands in for DFT)"
    assert maker.crop.max_atoms == 230
    assert cli.main(["check", str(config)]) == 0


def test_of_four_species_it_names_a_shorter_descriptor(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True) * 3
    atoms.symbols[:4] = ["Ni", "Pd", "Pt", "Ni"]
    text = written(tmp_path, atoms).read_text()
    assert "`compression: {mode: mu1nu1}`" in text
    # added as the comment says, it is a setting
    soap = re.search(r"^  soap: (\{.*\})$", text, re.MULTILINE)
    settings = yaml.safe_load(soap[1][:-1] + ", compression: {mode: mu1nu1}}")
    assert SOAP(["Ni", "Cu", "Pd", "Pt"], **settings).compression == {"mode": "mu1nu1"}
    atoms.symbols[:4] = ["Ni", "Pd", "Pd", "Ni"]
    assert "compression" not in written(tmp_path, atoms).read_text()


def test_it_runs(tmp_path: Path) -> None:
    """As a user runs it, but with fewer labels and a shorter fit, up to the first model."""
    config = written(tmp_path, bulk("Cu", cubic=True))
    text = config.read_text().replace("n_structures: 48", "n_structures: 6\n  fit_steps: 40")
    config.write_text(text)
    command = [sys.executable, "-m", "idealflow.cli", "run", str(config), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--max-rounds", "1", "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 for the bootstrap, 0 failed" in done.stdout
    log = (tmp_path / "out" / "log.txt").read_text()
    assert log.count("label: my/bootstrap/") == 6
    assert "bootstrap: first model from 6 structures" in log


@pytest.mark.parametrize(
    ("atoms", "engine", "kind", "method"),
    [
        (bulk("Li", cubic=True), "vasp", "metal", "VASP PBE"),
        (bulk("NaCl", "rocksalt", a=5.64, cubic=True), "vasp", "oxide", "VASP PBE"),
        (slab("Pd", layers=2, repeat=[2, 2], fixed_layers=1), "vasp", "reactive", "VASP PBE"),
        (bulk("Li", cubic=True), "ase", None, "Lennard-Jones (a placeholder)"),
        (bulk("NaCl", "rocksalt", a=5.64, cubic=True), "gpaw", None, "GPAW PBE"),
        (bulk("Li", cubic=True), "gpaw", None, "GPAW PBE"),
    ],
)
def test_engines(atoms: Atoms, engine: str, kind: str | None, method: str, tmp_path: Path) -> None:
    maker, _, settings = load_config(written(tmp_path, atoms, engine))
    assert maker.label.method == method
    if kind is not None:
        assert settings["label"]["labeller"]["kwargs"]["kind"] == kind


def test_cp2k_is_named_as_atomate2_has_it(tmp_path: Path) -> None:
    write(tmp_path / "li.cif", bulk("Li", cubic=True))
    labeller = yaml.safe_load(config_for(tmp_path / "li.cif", "cp2k"))["label"]["labeller"]
    assert labeller["maker"] == "atomate2.cp2k.jobs.core.StaticMaker"


def test_ionic_compounds_have_their_charges(tmp_path: Path) -> None:
    config = written(tmp_path, bulk("NaCl", "rocksalt", a=5.64, cubic=True))
    assert "guessed by pymatgen" in config.read_text()
    assert load_config(config)[0].crop.oxidation_states == {"Na": 1, "Cl": -1}
    assert not check_config(config).faults.found


def test_charges_are_guessed_only_where_they_make_sense() -> None:
    assert oxidation_states(bulk("CuAu", "cesiumchloride", a=3.0)) is None
    nitrogen = Atoms("Li2N2", positions=[[0, 0, 0], [3, 3, 3], [3, 0, 0], [3, 0, 1.1]], cell=[6, 6, 6], pbc=True)
    assert oxidation_states(nitrogen) is None  # molecules
    assert oxidation_states(particle("NaCl", crystal="rocksalt", a=5.64, n_atoms=64)) is None  # open


def test_a_supercell_has_its_primitive_cell_as_seed(tmp_path: Path) -> None:
    crystal = bulk("Cu", cubic=True) * 5
    maker, atoms, settings = load_config(written(tmp_path, crystal))
    assert len(atoms) == 500
    (seed,) = settings["bootstrap"]["seeds"]
    assert len(seed["numbers"]) == 1
    assert abs(np.linalg.det(seed["cell"])) == pytest.approx(crystal.get_volume() / 500, rel=1e-6)
    assert len(maker.bootstrap.initial_structures(atoms, 0)) == 48


def test_what_has_no_small_cell_has_cells_cut_out_of_it(tmp_path: Path) -> None:
    config = written(tmp_path, liquid())
    maker, atoms, settings = load_config(config)
    assert [seed["builder"] for seed in settings["bootstrap"]["seeds"]] == ["cell_around"] * 2
    assert not check_config(config).faults.found
    sizes = {len(frame) for frame in maker.bootstrap.initial_structures(atoms, 0)}
    assert max(sizes) <= 120


def test_a_cell_around_an_atom_keeps_its_surroundings() -> None:
    atoms = liquid()
    cell = cell_around(atoms, 123, radius=4.0)
    around = np.sort(atoms.get_distances(123, range(len(atoms)), mic=True))
    kept = np.sort(cell.get_distances(0, range(len(cell)), mic=True))
    inside = around[around < 4.0]
    assert kept[: len(inside)] == pytest.approx(inside, abs=1e-6)


def test_fixed_atoms_are_said(tmp_path: Path) -> None:
    config = written(tmp_path, slab("Al", layers=4, repeat=[3, 3], fixed_layers=1))
    assert "# 36 atoms are held fixed, as the file says." in config.read_text()
    _, atoms, _ = load_config(config)
    assert len(atoms.constraints[0].index) == 36 * (len(atoms) // 144)


def test_empty_space_does_not_count_as_volume() -> None:
    crystal = bulk("Cu", cubic=True) * 4
    assert local_volume(crystal) == pytest.approx(11.5, abs=0.4)
    open_ = particle("Cu", n_atoms=600, vacuum=20.0)
    assert local_volume(open_) < 1.3 * local_volume(crystal)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "init takes a name (cu-melt, li-melt"),
        (["cu-melt", "--engine", "ase"], "init takes a name (cu-melt, li-melt"),
        (["--structure", "no.cif", "--engine", "vaps"], "there is no engine 'vaps' (did you mean 'vasp'?)"),
        (["--structure", "no.cif", "--engine", "vasp"], "structure file no.cif does not exist"),
        (["--structure", "no.cif"], "init takes a name"),
    ],
)
def test_bad_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", *arguments]) == 2
    assert message in one_line(capsys)
