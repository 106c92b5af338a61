"""Structures in: what a file says is kept, what it does not say is not guessed, what cannot be is refused at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian, FixScaled
from ase.io import write
from pymatgen.core import Lattice, Molecule, Structure

from idealflow.core.fixed_atoms import fixed_directions
from idealflow.core.structure import of_the_label, to_arrays, totals_of
from idealflow.errors import InputError
from idealflow.schemas import StoredStructure
from idealflow.storage import ArtifactStore, read_shard, write_shard
from idealflow.workflow.frames.build import build_structure, perturbed
from idealflow.workflow.frames.datasets import read_dataset
from idealflow.workflow.frames.encode import load_frame, save_frame, to_atoms, to_stored
from idealflow.workflow.jobs.progress import Progress, listening

HEAD = "1.0\n3.6 0 0\n0 3.6 0\n0 0 3.6\n"
SITES = "Direct\n0 0 0\n0.5 0.5 0\n0.5 0 0.5\n0 0.5 0.5\n"

CIF = """data_x
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
loop_
_symmetry_equiv_pos_as_xyz
'x, y, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""
HEAVY_WATER = CIF.format(a=8) + "O1 O 0 0 0\nD1 D 0.12 0 0\nD2 D -0.03 0.116 0\n"
OCCUPIED = CIF.format(a=3.6) + "_atom_site_occupancy\nCu1 Cu 0 0 0 {}\nCu2 Cu 0.5 0.5 0 1\nAg1 Ag 0 0.5 0.5 {}\n"

DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0 3.6
0 3.6
0 3.6
ITEM: ATOMS id type {}x y z
1 1 {}0 0 0
2 2 {}1.8 1.8 1.8
"""
DATA = """made by hand

2 atoms
2 atom types
0 3.6 xlo xhi
0 3.6 ylo yhi
0 3.6 zlo zhi
{}
Atoms # atomic

1 1 0 0 0
2 2 1.8 1.8 1.8
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def magnet() -> Atoms:
    """Antiferromagnetic nickel with everything that a structure can carry."""
    atoms = bulk("Ni", cubic=True)
    atoms.set_initial_magnetic_moments([-2.0, 2.0, -2.0, 2.0])
    atoms.set_masses([58.0, 60.0, 58.0, 60.0])
    atoms.set_constraint([FixAtoms([0]), FixCartesian([1], [True, False, False])])
    return atoms


def test_selective_dynamics_of_a_poscar_fix_atoms_and_directions(tmp_path: Path) -> None:
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    slab.set_constraint(
        [FixAtoms([0, 1, 2, 3]), FixScaled([4], [False, False, True]), FixScaled([5], [True, True, False])]
    )
    write(tmp_path / "POSCAR", slab, format="vasp")
    fixed = fixed_directions(build_structure(tmp_path / "POSCAR"))
    assert fixed[:4].all()
    assert fixed[4:6].tolist() == [[False, False, True], [True, True, False]]
    assert not fixed[6:].any()
    slab.set_constraint(FixScaled([7], [True, False, False]))  # along a skewed vector
    write(tmp_path / "POSCAR", slab, format="vasp")
    with pytest.raises(InputError, match="atom 7 is fixed by FixScaled along a direction that is not x, y or z"):
        build_structure(tmp_path / "POSCAR")


def test_extended_xyz_keeps_constraints_masses_and_moments_through_a_supercell(tmp_path: Path) -> None:
    write(tmp_path / "ni.extxyz", magnet())
    atoms = build_structure({"file": str(tmp_path / "ni.extxyz"), "repeat": [2, 1, 1]})
    assert fixed_directions(atoms).tolist() == fixed_directions(magnet()).tolist() * 2
    assert atoms.get_masses().tolist() == magnet().get_masses().tolist() * 2
    assert atoms.get_initial_magnetic_moments().tolist() == [-2.0, 2.0, -2.0, 2.0] * 2
    fewer = build_structure({"file": str(tmp_path / "ni.extxyz"), "repeat": 2, "vacancies": 5, "seed": 3})
    whole = magnet().repeat(2)
    kept = [int(np.flatnonzero((whole.positions == place).all(axis=1))[0]) for place in fewer.positions]
    assert np.array_equal(fixed_directions(fewer), fixed_directions(whole)[kept])
    assert np.array_equal(fewer.get_initial_magnetic_moments(), whole.get_initial_magnetic_moments()[kept])


def test_deuterium_is_heavy(tmp_path: Path) -> None:
    atoms = build_structure(written(tmp_path, "d2o.cif", HEAVY_WATER))
    assert atoms.get_masses() == pytest.approx([15.999, 2.0136, 2.0136], abs=1e-3)
    mixed = build_structure(Structure(Lattice.cubic(8), ["O", "D", "H"], [[0, 0, 0], [0.12, 0, 0], [-0.03, 0.116, 0]]))
    assert mixed.get_masses() == pytest.approx([15.999, 2.0136, 1.008], abs=1e-3)


@pytest.mark.filterwarnings("ignore:Structure charge:UserWarning")  # of pymatgen, by its own as_dict
def test_pymatgen_objects_keep_moments_flags_charge_and_spin() -> None:
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.52), ["Ni"], [[0, 0, 0]])
    structure.add_site_property("magmom", [-2, 2, -2, 2])
    structure.add_site_property("selective_dynamics", [[False] * 3, [True, True, False], [True] * 3, [True] * 3])
    structure.set_charge(1)
    for source in (structure, structure.as_dict()):
        atoms = build_structure(source)
        assert atoms.get_initial_magnetic_moments().tolist() == [-2.0, 2.0, -2.0, 2.0]
        assert fixed_directions(atoms)[:3].tolist() == [[True] * 3, [False, False, True], [False] * 3]
        assert totals_of(atoms) == {"charge": 1.0}
    oxide = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    oxide.add_oxidation_state_by_element({"Mg": 2, "O": -2})
    oxide.remove_sites([0])
    assert totals_of(build_structure(oxide)) == {}  # oxidation states are no charge of the cell
    radical = Molecule(["N", "O"], [[0, 0, 0], [0, 0, 1.15]], charge=0, spin_multiplicity=2)
    assert totals_of(build_structure(radical)) == {"spin": 2.0}
    hexagonal = Structure(Lattice.hexagonal(3.0, 5.0), ["Co"] * 2, [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    hexagonal.add_site_property("selective_dynamics", [[False] * 3, [True, True, False]])
    assert fixed_directions(build_structure(hexagonal)).tolist() == [[True] * 3, [False, False, True]]
    hexagonal.add_site_property("selective_dynamics", [[True] * 3, [False, True, True]])
    with pytest.raises(InputError, match="atom 1 is fixed by FixScaled along a direction that is not x, y or z"):
        build_structure(hexagonal)
    structure.add_site_property("magmom", [-2, None, -2, 2])
    with pytest.raises(InputError, match="site 1 has no `magmom`"):
        build_structure(structure)


def test_computed_moments_serve_as_initial_ones_and_builders_bring_none(tmp_path: Path) -> None:
    atoms = bulk("Ni", cubic=True)
    atoms.set_initial_magnetic_moments(None)
    atoms.calc = SinglePointCalculator(atoms, energy=0.0, magmoms=[-0.6, 0.6, -0.6, 0.6])
    write(tmp_path / "ni.extxyz", atoms)
    assert build_structure(tmp_path / "ni.extxyz").get_initial_magnetic_moments().tolist() == [-0.6, 0.6, -0.6, 0.6]
    assert "initial_magmoms" not in build_structure({"element": "Fe", "cubic": True}).arrays  # ASE would say 2.3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "POSCAR4",
            "my relaxed cell no 3\n" + HEAD + "2 2\n" + SITES,
            "write the symbols on the line before the counts",
        ),
        ("POSCAR", "In my cell, No 2\n" + HEAD + "2 2\n" + SITES, "write the symbols on the line before the counts"),
        (
            "cell.vasp",
            "my relaxed cell no 3\n" + HEAD + "2 2\n" + SITES,
            "write the symbols on the line before the counts",
        ),
        ("dump.lammpstrj", DUMP.format("", "", ""), "dump the `element` column"),
        ("lj.lammpstrj", DUMP.format("mass ", "2.5 ", "2.5 "), "the mass 2.5 u of atom 0 is no element's"),
        ("in.lammps-data", DATA.format(""), "give the file a Masses section"),
        ("lj.lammps-data", DATA.format("\nMasses\n\n1 2.5\n2 58.69\n"), "the mass 2.5 u of atom 0 is no element's"),
    ],
)
def test_species_that_are_not_in_the_file_are_not_guessed(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match="species are not in the structure file") as refusal:
        build_structure(written(tmp_path, name, text))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("POSCAR", "my relaxed cell no 3\n" + HEAD + "Cu Ni\n2 2\n" + SITES),
        ("CONTCAR", "Cu Ni\n" + HEAD + "2 2\n" + SITES),
        ("POSCAR", "Cu2Ni2 cell no 3\n" + HEAD + "2 2\n" + SITES),
        ("cell.vasp", "Cu Ni\n" + HEAD + "2 2\n" + SITES),
    ],
)
def test_species_that_are_in_the_file_are_read(tmp_path: Path, name: str, text: str) -> None:
    assert build_structure(written(tmp_path, name, text)).get_chemical_symbols() == ["Cu", "Cu", "Ni", "Ni"]


def test_lammps_files_with_elements_or_masses_are_read(tmp_path: Path) -> None:
    for name, text in (
        ("a.lammpstrj", DUMP.format("element ", "Cu ", "Ni ")),
        ("b.lammpstrj", DUMP.format("mass ", "63.55 ", "58.69 ")),
        ("a.lammps-data", DATA.format("\nMasses\n\n1 63.55\n2 58.69\n")),
    ):
        assert build_structure(written(tmp_path, name, text)).get_chemical_symbols() == ["Cu", "Ni"]


@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF:UserWarning")  # of pymatgen
@pytest.mark.parametrize(
    ("shares", "message"),
    [((0.6, 1), r"site 0 at \[0.0, 0.0, 0.0\] is occupied by Cu0.6"), ((1, 0.3), r"site 2 at .* is occupied by Ag0.3")],
)
def test_partial_occupancies_are_refused_with_their_site(tmp_path: Path, shares: Any, message: str) -> None:
    path = written(tmp_path, "part.cif", OCCUPIED.format(*shares))
    for source in (path, {"file": str(path), "repeat": 2}, Structure.from_file(path)):
        with pytest.raises(InputError, match=r"a site must be one whole atom"):
            build_structure(source)
    with pytest.raises(InputError, match=message):
        build_structure(path)
    whole = build_structure(written(tmp_path, "whole.cif", OCCUPIED.format("1.0", "1")))
    assert whole.get_chemical_formula() == "AgCu2"


def test_atoms_on_one_place_are_refused_in_structures_seeds_and_datasets(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True) * 3
    atoms += Atoms("Cu", [atoms.positions[7]])
    message = r"atoms 7 \(Cu\) and 108 \(Cu\) are 0.000 Å apart; at least half the sum of their covalent radii, 1.320 Å"
    write(tmp_path / "dup.extxyz", atoms)
    for source in (tmp_path / "dup.extxyz", atoms, to_stored(atoms), to_stored(atoms).model_dump()):
        with pytest.raises(InputError, match=message):
            build_structure(source)
    good = bulk("Cu", cubic=True)
    for frame in (good, atoms):
        frame.calc = SinglePointCalculator(frame, energy=0.0, forces=np.zeros((len(frame), 3)))
    write(tmp_path / "set.extxyz", [good, atoms])
    with pytest.raises(InputError, match="structure 1 of .*set.extxyz: " + message):
        read_dataset(tmp_path / "set.extxyz")


def test_of_several_frames_the_last_is_taken_and_said(tmp_path: Path) -> None:
    write(tmp_path / "run.extxyz", [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)])
    heard: list[Progress] = []
    with listening(heard.append):
        assert build_structure(tmp_path / "run.extxyz").cell[0, 1] == pytest.approx(3.7 / 2)
        assert build_structure({"file": str(tmp_path / "run.extxyz"), "frame": 0}).cell[0, 1] == pytest.approx(3.5 / 2)
    assert [event.message for event in heard] == [
        "run.extxyz has 3 frames; the last, 2, is taken (`frame` of a structure mapping chooses another)"
    ]
    for frame, message in (
        (3, "has 3 frames, counted from 0; there is no frame 3"),
        ("last", "frame must be a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            build_structure({"file": str(tmp_path / "run.extxyz"), "frame": frame})


def test_perturbed_structures_keep_moments_charge_and_spin() -> None:
    atoms = magnet()
    atoms.info.update(charge=1, spin=3)
    made = perturbed(atoms, np.random.default_rng(0), min_atoms=30, rattle=(0.02, 0.1), strain=0.02)
    assert len(made) == 32
    nearest = [np.argmin(np.linalg.norm(_folded(atoms, place), axis=1)) for place in made.get_scaled_positions() * 2]
    assert np.array_equal(made.get_initial_magnetic_moments(), atoms.get_initial_magnetic_moments()[nearest])
    assert totals_of(made) == {"charge": 8.0, "spin": 17.0}
    assert not made.constraints
    assert set(to_arrays(made)) == {"numbers", "positions", "cell", "pbc", "moments", "charge", "spin"}


def _folded(atoms: Atoms, place: np.ndarray) -> np.ndarray:
    shifts = place - atoms.get_scaled_positions()
    return shifts - np.rint(shifts)


def test_perturbation_never_leaves_atoms_on_each_other() -> None:
    water = molecule("H2O", vacuum=4.0)
    for seed in range(20):
        made = perturbed(water, np.random.default_rng(seed), min_atoms=1, rattle=(0.3, 0.3), strain=0.0)
        assert made.get_all_distances()[np.triu_indices(3, 1)].min() > 0.31
    with pytest.raises(InputError, match=r"bootstrap.rattle = \[5.0, 9.0\] Å .* lower them"):
        perturbed(bulk("Cu", cubic=True) * 3, np.random.default_rng(0), min_atoms=1, rattle=(5.0, 9.0), strain=0.0)


def test_documents_files_and_shards_carry_it_to_the_bit(tmp_path: Path) -> None:
    store, atoms = ArtifactStore(str(tmp_path / "a")), magnet()
    atoms.rattle(0.1, seed=1)
    atoms.info.update(charge=-2.0, spin=3.0)
    expected = to_arrays(atoms)
    for back in (
        load_frame(store, save_frame(store, atoms)),
        to_atoms(StoredStructure.model_validate_json(to_stored(atoms).model_dump_json())),
    ):
        found = to_arrays(back)
        assert set(found) == set(expected)
        assert all(np.array_equal(found[name], array) for name, array in expected.items())
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, forces=np.ones((4, 3)))
    (labelled,) = read_shard(store, write_shard(store, [atoms]))
    learned = to_arrays(of_the_label(atoms))
    assert all(np.array_equal(to_arrays(labelled)[name], array) for name, array in learned.items())


def test_plain_structures_are_stored_as_ever(tmp_path: Path) -> None:
    """Documents and files of 0.1.0: the same keys, the same bytes, and read."""
    import io

    atoms = bulk("Cu", cubic=True)
    document = to_stored(atoms).model_dump()
    assert list(document) == ["numbers", "positions", "cell", "pbc"]
    assert StoredStructure.model_validate(document) == to_stored(atoms)
    store, buffer = ArtifactStore(str(tmp_path)), io.BytesIO()
    np.savez(buffer, numbers=atoms.numbers, positions=atoms.positions, cell=np.asarray(atoms.cell), pbc=atoms.pbc)
    assert store.get(save_frame(store, atoms)).read_bytes() == buffer.getvalue()
