"""Datasets as people have them: whatever the names, the virial's units and the form of the file, values come out right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from ase.io import write
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.errors import InputError
from idealflow.workflow.frames.agreement import chosen, compared
from idealflow.workflow.frames.datasets import read_dataset
from idealflow.workflow.jobs.progress import noted


def labelled(seed: int, *, stress: bool = True, stdev: float = 0.1, gold: int = 1) -> Atoms:
    """Copper and gold, strained and rattled, with EMT's label."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.numbers[:gold] = 79
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0.0, stdev, atoms.positions.shape)
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if stress:
        results["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture(scope="module")
def frames() -> list[Atoms]:
    return [labelled(seed) for seed in range(4)]


def assert_same(read: list[Atoms], expected: list[Atoms], tolerance: float = 1e-6) -> None:
    assert len(read) == len(expected)
    for one, other in zip(read, expected, strict=True):
        np.testing.assert_array_equal(one.numbers, other.numbers)
        np.testing.assert_allclose(one.positions, other.positions, atol=tolerance)
        assert set(one.calc.results) == {"energy", "forces", "stress"}
        for name, value in one.calc.results.items():
            np.testing.assert_allclose(value, other.calc.results[name], atol=tolerance)


def renamed(frames: list[Atoms], energy: str, forces: str, stress: str = "", virial: str = "") -> list[Atoms]:
    """The same labels under other names, as a program that does not know ASE's writes them."""
    made = []
    for atoms in frames:
        other = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        other.info[energy] = atoms.get_potential_energy()
        other.arrays[forces] = atoms.get_forces()
        if stress:
            other.info[stress] = atoms.get_stress(voigt=False).ravel()
        if virial:
            other.info[virial] = -atoms.get_stress(voigt=False) * atoms.get_volume()
        made.append(other)
    return made


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        ({"energy": "energy", "forces": "forces", "virial": "virial"}, None),
        ({"energy": "energy", "forces": "force", "virial": "virial"}, None),  # GPUMD
        ({"energy": "REF_energy", "forces": "REF_forces", "stress": "REF_stress"}, None),  # MACE
        ({"energy": "REF_energy", "forces": "REF_forces", "virial": "REF_virials"}, None),
        ({"energy": "dft_energy", "forces": "dft_force", "virial": "dft_virial"}, None),  # QUIP
        ({"energy": "E", "forces": "F", "virial": "V"}, {"energy": "E", "forces": "F", "virial": "V"}),
        ({"energy": "E", "forces": "F", "stress": "S"}, {"energy": "E", "forces": "F", "stress": "S"}),
    ],
    ids=lambda value: "-".join(value.values()) if value else "known",
)  # fmt: skip
def test_labels_under_other_names_come_out_right_and_it_is_said(
    names: dict[str, str], keys: Any, frames: list[Atoms], tmp_path: Path
) -> None:
    write(tmp_path / "d.xyz", renamed(frames, **names), format="extxyz")
    with noted() as notes:
        assert_same(read_dataset(tmp_path / "d.xyz", keys), frames)
    for key, name in names.items():
        assert (f"{key} from `{name}`" in notes[0]) == (key != name)
    assert any("stress of 4 structures from the virial (eV)" in text for text in notes) == ("virial" in names)


def test_plain_labels_need_no_words(frames: list[Atoms], tmp_path: Path) -> None:
    write(tmp_path / "d.xyz", frames, format="extxyz")
    with noted() as notes:
        assert_same(read_dataset(tmp_path / "d.xyz"), frames)
    assert notes == []


def test_a_dataset_with_some_stresses_is_said(tmp_path: Path) -> None:
    write(tmp_path / "d.xyz", [labelled(seed, stress=seed != 1) for seed in range(3)], format="extxyz")
    with noted() as notes:
        read = read_dataset(tmp_path / "d.xyz")
    assert [atoms.calc.results.get("stress") is not None for atoms in read] == [True, False, True]
    assert notes == ["d.xyz: 2 of 3 structures have a stress; from the other 1 energy and forces alone are learned"]


def test_the_energy_is_the_one_whose_derivative_the_forces_are(frames: list[Atoms], tmp_path: Path) -> None:
    smeared = [atoms.copy() for atoms in frames]
    for i, (atoms, known) in enumerate(zip(smeared, frames, strict=True)):
        free = known.get_potential_energy()
        results = dict(known.calc.results) | {"energy": free + 0.1 * i, "free_energy": free}
        atoms.calc = SinglePointCalculator(atoms, **results)
    write(tmp_path / "d.xyz", smeared, format="extxyz")
    with noted() as notes:
        assert_same(read_dataset(tmp_path / "d.xyz"), frames)
    assert "energy from `free_energy`, of which the forces are the derivative" in notes[0]
    assert "by up to 37.5 meV per atom" in notes[0]  # 0.3 eV of 8 atoms
    asked = read_dataset(tmp_path / "d.xyz", {"energy": "energy"})
    assert asked[3].get_potential_energy() == pytest.approx(frames[3].get_potential_energy() + 0.3, abs=1e-6)


def test_two_names_with_different_values_are_refused(frames: list[Atoms], tmp_path: Path) -> None:
    made = renamed(frames, "REF_energy", "REF_forces")
    for atoms, known in zip(made, frames, strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=known.get_potential_energy() + 1, forces=known.get_forces())
    write(tmp_path / "d.xyz", made, format="extxyz")
    with pytest.raises(InputError, match="has 'energy' and 'REF_energy', which differ; say which is meant"):
        read_dataset(tmp_path / "d.xyz")
    chosen_one = read_dataset(tmp_path / "d.xyz", {"energy": "REF_energy"})
    assert chosen_one[0].get_potential_energy() == pytest.approx(frames[0].get_potential_energy())


def test_a_stress_and_a_virial_that_contradict_each_other_are_refused(frames: list[Atoms], tmp_path: Path) -> None:
    made = [atoms.copy() for atoms in frames]
    for atoms, known in zip(made, frames, strict=True):
        atoms.info["virial"] = known.get_stress(voigt=False) * atoms.get_volume()  # the sign is wrong
        atoms.calc = SinglePointCalculator(atoms, **known.calc.results)
    write(tmp_path / "d.xyz", made, format="extxyz")
    with pytest.raises(InputError, match="a stress and a virial, and the stress is not −virial / volume"):
        read_dataset(tmp_path / "d.xyz")
    assert_same(read_dataset(tmp_path / "d.xyz", {"stress": "stress"}), frames)
    for atoms in made:
        atoms.info["virial"] *= -1
    write(tmp_path / "d.xyz", made, format="extxyz")
    assert_same(read_dataset(tmp_path / "d.xyz"), frames)


def test_what_is_missing_or_impossible_is_named(frames: list[Atoms], tmp_path: Path) -> None:
    path = tmp_path / "d.xyz"
    bare = renamed(frames, "my_energy", "my_forces")
    write(path, bare, format="extxyz")
    with pytest.raises(
        InputError, match=r"structure 0 of .* has no energy and no forces; .* It has my_energy, my_forces"
    ):
        read_dataset(path)
    with pytest.raises(InputError, match=r"keys: no structure of .* has 'E'; it has my_energy, my_forces"):
        read_dataset(path, {"energy": "E"})
    bare[2].arrays["my_forces"][3, 1] = np.nan
    write(path, bare, format="extxyz")
    with pytest.raises(InputError, match=r"the forces of structure 2 of .* got values that are not finite"):
        read_dataset(path, {"energy": "my_energy", "forces": "my_forces"})
    bare[2].arrays["my_forces"][3, 1] = 0.0
    bare[2].info["virials"] = np.arange(6.0)
    write(path, bare[2], format="extxyz")
    with pytest.raises(InputError, match=r"the virial of structure 0 of .* must have nine components, got 6"):
        read_dataset(path, {"energy": "my_energy", "forces": "my_forces"})


def test_stress_of_what_is_not_periodic_is_left_out_and_it_is_said(tmp_path: Path) -> None:
    gas = molecule("CO", vacuum=3.0)
    gas.calc = SinglePointCalculator(gas, energy=1.0, forces=np.zeros((2, 3)), stress=np.ones(6))
    write(tmp_path / "d.xyz", gas, format="extxyz")
    with noted() as notes:
        (atoms,) = read_dataset(tmp_path / "d.xyz")
    assert "stress" not in atoms.calc.results
    assert "stress of 1 structures that are not periodic in all directions is left out" in notes[0]


def test_forces_on_fixed_atoms_are_kept(frames: list[Atoms], tmp_path: Path) -> None:
    atoms = frames[0].copy()
    atoms.set_constraint(FixAtoms([0, 1]))
    atoms.calc = SinglePointCalculator(atoms, **frames[0].calc.results)
    write(tmp_path / "d.traj", atoms)
    (read,) = read_dataset(tmp_path / "d.traj")
    np.testing.assert_array_equal(read.get_forces(), frames[0].get_forces())


def test_an_ase_database(frames: list[Atoms], tmp_path: Path) -> None:
    with connect(tmp_path / "d.db") as database:
        for i, atoms in enumerate(frames):
            database.write(atoms, name=f"frame {i}")
    assert_same(read_dataset(tmp_path / "d.db"), frames)


def write_deepmd(folder: Path, frames: list[Atoms], name: str) -> None:
    """Frames of one composition as DeePMD-kit's documentation describes its format."""
    (folder / name).mkdir(parents=True)
    symbols = ["Au", "Cu"]
    (folder / "type_map.raw").write_text("\n".join(symbols) + "\n")
    np.savetxt(folder / "type.raw", [symbols.index(symbol) for symbol in frames[0].symbols], fmt="%d")
    columns = {
        "coord": [atoms.positions.ravel() for atoms in frames],
        "box": [atoms.cell.array.ravel() for atoms in frames],
        "energy": [atoms.get_potential_energy() for atoms in frames],
        "force": [atoms.get_forces().ravel() for atoms in frames],
        "virial": [-(atoms.get_stress(voigt=False) * atoms.get_volume()).ravel() for atoms in frames],
    }
    for column, values in columns.items():
        np.save(folder / name / f"{column}.npy", np.array(values))


def test_a_folder_of_deepmd_systems(frames: list[Atoms], tmp_path: Path) -> None:
    write_deepmd(tmp_path / "b" / "data", frames[:2], "set.000")
    write_deepmd(tmp_path / "a", frames[2:], "set.000")
    with noted() as notes:
        assert_same(read_dataset(tmp_path), [*frames[2:], *frames[:2]])
    assert "stress of 4 structures from the virial (eV)" in notes[0]
    np.save(tmp_path / "a" / "set.000" / "force.npy", np.zeros((2, 5)))
    with pytest.raises(InputError, match=r"force.npy must have the shape \(2, 24\), got \(2, 5\)"):
        read_dataset(tmp_path)
    (tmp_path / "a" / "set.000" / "force.npy").unlink()
    with pytest.raises(InputError, match=r"force\.npy does not exist"):
        read_dataset(tmp_path)
    (tmp_path / "a" / "type_map.raw").unlink()
    with pytest.raises(InputError, match=r"has no type_map.raw, so its species are unknown"):
        read_dataset(tmp_path)


def test_a_folder_of_nothing_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is a folder without vasprun.xml, OUTCAR .* or type.raw"):
        read_dataset(tmp_path)


def test_frames_that_occur_twice_are_said(frames: list[Atoms], tmp_path: Path) -> None:
    again = frames[1].copy()
    again.calc = SinglePointCalculator(
        again, **frames[1].calc.results | {"energy": frames[1].get_potential_energy() + 0.08}
    )
    write(tmp_path / "d.xyz", [*frames, again, frames[3]], format="extxyz")
    with noted() as notes:
        assert len(read_dataset(tmp_path / "d.xyz")) == 6
    assert len(notes) == 1
    assert "2 of 6 structures are in it already (the first is 4, the same as 1)" in notes[0]
    assert "their energies differ by up to 10 meV per atom" in notes[0]


# --- agreement with the labeller ---


def changed(atoms: Atoms, **changes: Callable[[Any, Atoms], Any]) -> Atoms:
    """A copy whose results are functions of what they were."""
    other = atoms.copy()
    results = {
        name: changes.get(name, lambda value, _: value)(value, atoms) for name, value in atoms.calc.results.items()
    }
    other.calc = SinglePointCalculator(other, **results)
    return other


def times(factor: float) -> Callable[[Any, Atoms], Any]:
    return lambda value, _: factor * value


@given(constants=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), noise=st.floats(-1e-3, 1e-3))
@settings(max_examples=20, deadline=None)
def test_constants_per_species_and_numerical_noise_are_no_disagreement(
    frames: list[Atoms], constants: tuple[float, float], noise: float
) -> None:
    def moved(value: float, atoms: Atoms) -> float:
        return value + constants[0] * sum(atoms.numbers == 29) + constants[1] * sum(atoms.numbers == 79)

    found = compared([changed(a, energy=moved, forces=lambda f, _: f + noise) for a in frames], frames)
    assert found.disagreed == []
    assert len(found.agreed) == 3


def test_another_zero_of_energy_is_said(frames: list[Atoms]) -> None:
    found = compared([changed(atoms, energy=lambda e, atoms: e - 3.5 * len(atoms)) for atoms in frames], frames)
    assert found.disagreed == []
    assert "energies lie -3.5 eV per atom from the labeller's" in found.unknown[0]


@pytest.mark.parametrize(
    ("changes", "what", "factor"),
    [
        ({"stress": times(1602.1766)}, "stresses", "kbar would explain it, a factor of 1602.2"),
        ({"stress": times(-1602.1766)}, "stresses", "kbar and the opposite sign would explain it"),
        ({"stress": times(160.21766)}, "stresses", "GPa would explain it"),
        ({"stress": times(-1.0)}, "stresses", "the opposite sign would explain it"),
        ({"stress": lambda s, atoms: -s * atoms.get_volume()}, "stresses", "virials in eV would explain it"),
        ({"forces": times(23.060548)}, "forces", "kcal/mol/Å would explain it"),
        ({"forces": times(1 / 51.422067)}, "forces", "Hartree/Bohr would explain it"),
        ({"forces": times(-1.0)}, "forces", "the opposite sign would explain it"),
        ({"forces": times(1.7)}, "forces", "a factor of 1.7, no unit's, would explain it"),
        ({"forces": lambda f, _: f[::-1].copy()}, "forces", "no factor explains it: another method"),
        ({"forces": lambda f, _: 0 * f}, "forces", "the dataset's are all zero"),
        ({"energy": times(23.060548)}, "energies", "kcal/mol would explain it"),
        ({"energy": times(1 / 27.211386)}, "energies", "Hartree would explain it"),
        ({"energy": times(1 / 13.605693)}, "energies", "Ry would explain it"),
        ({"energy": times(-1.0)}, "energies", "the opposite sign would explain it"),
        ({"energy": lambda e, atoms: e / len(atoms)}, "energies", "eV per atom instead of eV would explain it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_factor_or_sign_that_explains_a_disagreement_is_named(
    changes: Any, what: str, factor: str, frames: list[Atoms]
) -> None:
    two = [frames[i] for i in chosen(frames, 2)]
    found = compared([changed(atoms, **changes) for atoms in two], two)
    assert len(found.disagreed) == 1
    assert found.disagreed[0].startswith(what)
    assert factor in found.disagreed[0]
    assert len(found.agreed) == 2


def test_what_cannot_be_compared_is_said() -> None:
    two = [labelled(1, gold=0), labelled(2, gold=3)]
    found = compared(two, two)
    assert "at least two structures of one composition" in found.unknown[0]
    assert len(found.agreed) == 2
    perfect = [bulk("Cu", cubic=True), bulk("Cu", a=3.7, cubic=True)]
    for atoms in perfect:
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((4, 3)))
    found = compared(perfect, perfect)
    assert ["too small to tell units or signs" in text for text in found.unknown] == [True, True, False]
    assert "stresses were not compared, the dataset gives none" in found.unknown[2]


def test_the_structures_chosen_are_distinct_and_have_one_composition_and_different_energies() -> None:
    many = [labelled(seed, gold=seed % 3, stdev=0.02 * (seed % 5)) for seed in range(8)]
    many = [many[0], many[0].copy(), *many[1:]]
    many[1].calc = SinglePointCalculator(many[1], **many[0].calc.results)
    one, other = chosen(many, 2)
    assert sorted(many[one].numbers) == sorted(many[other].numbers)
    assert abs(many[one].get_potential_energy() - many[other].get_potential_energy()) > 0.1
    four = chosen(many, 4)
    assert len({tuple(sorted(many[i].numbers)) for i in four}) == 2
    assert chosen(many, 100) == [0, *range(2, 9)]  # all, the copy once
    assert len(chosen(many, 1)) == 1
    assert chosen([labelled(0, gold=0), labelled(1, gold=1), labelled(2, gold=2)], 2) == [0, 1]
