"""VASP input sets for substructures: what is written, why it fits cells of any size, and that all of it can be changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.io.ase import AseAtomsAdaptor

from idealflow.errors import InputError
from idealflow.labelling import in_a_box
from idealflow.workflow.labellers.static import to_pymatgen
from idealflow.workflow.labellers.vasp import PRESETS, SubstructureSetGenerator, vasp_static


def written(atoms: Atoms, maker: Any) -> tuple[dict[str, Any], tuple[int, ...]]:
    """INCAR and k points of a structure."""
    boxed = atoms.copy()
    boxed.pbc = True
    files = maker.input_set_generator.get_input_set(AseAtomsAdaptor.get_structure(boxed), potcar_spec=True)
    return dict(files["INCAR"]), tuple(files["KPOINTS"].kpts[0])


def rattled(atoms: Atoms, seed: int = 0) -> Atoms:
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.mark.parametrize("key", PRESETS, ids="-".join)
def test_every_preset_says_what_decides_a_label(key: tuple[Any, Any]) -> None:
    incar, _ = written(rattled(bulk("Al", cubic=True) * 2), vasp_static(*key))
    assert incar["GGA"].upper() == "PE"
    assert incar["ENCUT"] == 520  # the same in both variants
    assert incar["ISMEAR"] >= 0  # forces are exact derivatives, unlike the tetrahedron method's
    assert {"SIGMA", "ISPIN", "PREC", "LREAL", "EDIFF", "ALGO", "NELM", "LASPH"} <= set(incar)
    assert incar["NSW"] == 0
    assert incar["ISYM"] == 0
    assert not any(incar[name] for name in ("LWAVE", "LCHARG", "LAECHG", "LVTOT"))
    assert not any(name.startswith("LDAU") for name in incar)  # no +U that nobody asked for


def test_the_accelerated_variant_is_cheaper_in_every_kind() -> None:
    cell = rattled(bulk("Al", cubic=True) * 2)
    for kind in ("metal", "oxide", "reactive"):
        standard, dense = written(cell, vasp_static(kind, "standard"))
        accelerated, coarse = written(cell, vasp_static(kind, "accelerated"))
        assert np.prod(coarse) < np.prod(dense)
        assert accelerated["EDIFF"] > standard["EDIFF"]
        same = ("GGA", "ENCUT", "ISMEAR", "SIGMA", "ISPIN")
        assert [accelerated[name] for name in same] == [standard[name] for name in same]


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 2, 2), (3, 2, 4), (5, 5, 5), (6, 1, 1)])
@pytest.mark.parametrize("spacing", [0.15, 0.2, 0.3])
def test_the_density_of_k_points_does_not_depend_on_the_cell(counts: Any, spacing: float) -> None:
    cell = rattled(bulk("Li", cubic=True, a=3.44) * counts)
    cell.set_cell(cell.cell.array @ np.array([[1, 0.1, 0], [0, 1, -0.2], [0, 0, 1.1]]), scale_atoms=True)
    _, grid = written(cell, vasp_static("metal", k_spacing=spacing))
    lengths = 2 * np.pi * np.linalg.norm(cell.cell.reciprocal(), axis=1)
    assert (lengths / np.array(grid) <= spacing * (1 + 1e-5)).all()  # dense enough
    assert all(n == 1 or length / (n - 1) > spacing for n, length in zip(grid, lengths, strict=True))  # and no denser


def test_vacuum_directions_have_gamma_alone() -> None:
    slab = rattled(fcc111("Pt", (2, 2, 4), vacuum=6.0))
    _, grid = written(slab, vasp_static("reactive"))
    assert grid[2] == 1
    assert min(grid[:2]) > 1
    shifted = slab.copy()
    shifted.positions += [0, 0, 9.0]  # the slab now crosses the cell's face
    shifted.wrap(pbc=True)
    assert written(shifted, vasp_static("reactive"))[1] == grid
    cluster = molecule("H2O", vacuum=5.0)
    assert written(cluster, vasp_static("reactive"))[1] == (1, 1, 1)
    thin = rattled(fcc111("Pt", (2, 2, 4), vacuum=1.5))  # a gap of 3 Å is no vacuum
    assert written(thin, vasp_static("reactive"))[1][2] > 1


def test_spin_is_set_on_purpose() -> None:
    copper, iron = rattled(bulk("Cu", cubic=True)), rattled(bulk("Fe", cubic=True))
    assert written(copper, vasp_static("metal"))[0]["ISPIN"] == 1
    given, _ = written(iron, vasp_static("metal"))  # ase starts iron with 2.3 μB
    assert [float(moment) for moment in given["MAGMOM"]] == [2.3, 2.3]
    del iron.arrays["initial_magmoms"]
    incar, _ = written(iron, vasp_static("metal"))
    assert incar["ISPIN"] == 2
    assert [float(moment) for moment in incar["MAGMOM"]] == [4.0, 4.0]
    assert written(copper, vasp_static("reactive"))[0]["ISPIN"] == 2  # radicals and broken bonds
    assert written(iron, vasp_static("metal", spin=False))[0]["ISPIN"] == 1
    assert written(copper, vasp_static("metal", spin=True))[0]["ISPIN"] == 2


def test_moments_charge_and_spin_of_the_structure_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SubstructureSetGenerator, "nelect", 44.0)  # of pseudopotentials that no test has
    nickel, copper = bulk("Ni", cubic=True), bulk("Cu", cubic=True)
    nickel.set_initial_magnetic_moments([-2.0, 2.0, -2.0, 2.0])
    copper.set_initial_magnetic_moments([0.5, 0.0, -0.5, 0.0])
    for atoms in (rattled(nickel), rattled(copper)):
        incar = files_of(atoms, vasp_static("metal"))["INCAR"]
        assert incar["ISPIN"] == 2
        assert [float(moment) for moment in incar["MAGMOM"]] == atoms.get_initial_magnetic_moments().tolist()
        assert not {"NELECT", "NUPDOWN"} & set(incar)
    copper.set_initial_magnetic_moments(None)
    copper.info.update(charge=-1.0, spin=2.0)
    incar = files_of(copper, vasp_static("metal"))["INCAR"]
    assert (incar["ISPIN"], incar["NUPDOWN"], incar["NELECT"]) == (2, 1, 45.0)
    own = files_of(copper, vasp_static("metal", incar={"NELECT": 40, "NUPDOWN": 3}))["INCAR"]
    assert (own["NUPDOWN"], own["NELECT"]) == (3, 40)


def files_of(atoms: Atoms, maker: Any) -> Any:
    """Input files of a structure, on the labeller's own way to pymatgen."""
    return maker.input_set_generator.get_input_set(to_pymatgen(in_a_box(atoms)), potcar_spec=True)


@pytest.mark.filterwarnings("ignore::pymatgen.io.vasp.sets.BadInputSetWarning")  # of NSW = 3 in a metal
def test_every_tag_can_be_overridden_and_removed() -> None:
    cell = rattled(bulk("Al", cubic=True))
    for key, preset in PRESETS.items():
        plain, _ = written(cell, vasp_static(*key))
        for name in preset.incar:
            value = {"GGA": "Ps", "PREC": "Single", "ALGO": "All"}.get(name, 3)
            changed, _ = written(cell, vasp_static(*key, incar={name: value}))
            assert changed[name] == value, name
            assert {k: v for k, v in changed.items() if k not in {name, "MAGMOM", "EDIFFG"}}.items() >= {
                k: v for k, v in plain.items() if k not in {name, "MAGMOM"}
            }.items(), name
            assert name not in written(cell, vasp_static(*key, incar={name: None}))[0]
    assert written(cell, vasp_static(incar={"IVDW": 12}))[0]["IVDW"] == 12
    assert vasp_static(potcar={"Al": "Al_GW"}).input_set_generator.config_dict["POTCAR"]["Al"] == "Al_GW"


def test_a_set_survives_json_and_has_a_name_for_its_mistakes() -> None:
    made = vasp_static("oxide", "accelerated", incar={"ENCUT": 600}, k_spacing=0.4)
    again = MontyDecoder().decode(MontyEncoder().encode(made))
    assert isinstance(again.input_set_generator, SubstructureSetGenerator)
    cell = rattled(bulk("MgO", "rocksalt", a=4.21, cubic=True))
    assert written(cell, again) == written(cell, made)
    with pytest.raises(InputError, match="no VASP preset of kind 'plasma'"):
        vasp_static("plasma")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="k_spacing must be positive"):
        vasp_static(k_spacing=0.0)
