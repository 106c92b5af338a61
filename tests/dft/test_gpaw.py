"""Labels of a real first-principles engine: GPAW, plane waves, PBE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

from idealflow.errors import LabelError
from idealflow.labelling import AseLabeller, close_workers
from idealflow.testing import check_labeller

pytestmark = pytest.mark.usefixtures("gpaw")

SHEAR = np.array([[1.0, 0.04, 0.10], [0.0, 0.98, -0.06], [0.0, 0.0, 1.01]])
TIGHT = {
    "density": 1e-6,
    "energy": 1e-6,
    "eigenstates": 1e-9,
}  # differences of energies need more digits than labels do
CAMPAIGN = Path(__file__).parents[2] / "workflows" / "li_gpaw" / "li-gpaw.yaml"


@pytest.fixture(autouse=True)
def workers() -> Iterator[None]:
    """End GPAW's processes with their test."""
    yield
    close_workers()


def engine(**changes: Any) -> AseLabeller:
    """GPAW with the settings of the campaign in workflows/li_gpaw, changed where a test needs it."""
    settings = yaml.safe_load(CAMPAIGN.read_text())["label"]["labeller"]
    return AseLabeller(
        settings["calculator"], settings["kwargs"] | changes, time_limit_s=900, reference=settings["reference"]
    )


def sheared(atoms: Atoms, width: float, seed: int) -> Atoms:
    atoms.rattle(width, seed=seed)
    atoms.set_cell(atoms.cell.array @ SHEAR, scale_atoms=True)
    return atoms


def test_forces_and_stress_of_lithium_are_derivatives_of_its_energy() -> None:
    small = engine(kpts={"size": [2, 2, 2]}, convergence=TIGHT)
    atoms = sheared(bulk("Li", "bcc", a=3.3, cubic=True), 0.15, seed=1)
    done = check_labeller(
        small,
        atoms,
        displacement=0.01,
        strain=0.004,
        stress_tolerance=6e-4,
        force_tolerance=0.005,
        n_directions=1,
    )
    assert done.order_error < 0.002
    label = small.compute(atoms)
    assert label.method == "GPAW PBE"
    assert label.n_valence_electrons == 2  # one an atom: the core is frozen
    assert label.core_seconds > 0


def test_a_calculation_that_does_not_converge_is_a_failed_label() -> None:
    with pytest.raises(LabelError, match=r"GPAW PBE: .*KohnShamConvergenceError"):
        engine(maxiter=2, kpts={"size": [1, 1, 1]}).compute(bulk("Li", "bcc", a=3.3, cubic=True))


@pytest.mark.dft
def test_sixteen_lithium_atoms_at_the_campaign_settings_but_for_the_cutoff() -> None:
    atoms = sheared(bulk("Li", "bcc", a=3.44, cubic=True) * 2, 0.1, seed=2)
    check_labeller(
        # 300 eV: at the 200 eV of the campaign the stress misses 1.2e-4 to 1.7e-4 on the diagonal at a strain of 0.004. That is
        # the Pulay stress of an unfinished basis, ⅔·E_cut·(dE/dE_cut)/V = −1.2e-4 eV/Å³ from energies at 190 and 210 eV;
        # at 300 eV it is −1.0e-5. The grid is held.
        engine(mode={"name": "pw", "ecut": 300}, gpts=[24, 24, 24], convergence=TIGHT),
        atoms,
        displacement=0.02,
        strain=0.004,
        stress_tolerance=1e-4,
        force_tolerance=0.005,
        n_directions=1,
    )


@pytest.mark.dft
def test_energy_per_atom_does_not_depend_on_the_cell_at_constant_k_density() -> None:
    """Γ alone would differ by 0.18 eV between these two cells."""
    energies = [
        label.energy / label.n_atoms
        for label in (engine().compute(bulk("Li", "bcc", a=3.44, cubic=True) * n) for n in (1, 2))
    ]
    assert abs(energies[0] - energies[1]) < 0.02


def corundum() -> Atoms:
    """The ten-atom primitive cell of Al2O3."""
    return crystal(
        ("Al", "O"),
        [(0, 0, 0.35219), (0.30633, 0, 0.25)],
        spacegroup=167,
        cellpar=[4.76, 4.76, 12.99, 90, 90, 120],
        primitive_cell=True,
    )


@pytest.mark.dft
def test_alumina_forces_and_one_shear_are_derivatives_of_its_energy() -> None:
    """At 600 eV: one direction of forces and the yz shear, five labels in all.

    The strain is one at which + and − have as many plane waves below the cutoff (1 419): an engine's stress is the derivative
    at fixed waves. At ±0.002 they are 1 419 and 1 418, and the slope is 8 % off (−0.1022 against −0.0944 eV/Å³); one wave
    changes the energy by −2.63 meV (measured by the cutoff, without any strain), which explains −0.0078 of the −0.0078.
    workflows/checks/plane_wave_stress.py measures it; docs/howto/labeller.md has its table.
    """
    oxide = engine(
        mode={"name": "pw", "ecut": 600}, kpts={"size": [1, 1, 1]}, nbands="nao", gpts=[32, 28, 30], convergence=TIGHT
    )
    atoms = sheared(corundum(), 0.05, seed=3)
    label = oxide.compute(atoms)
    assert len(atoms) == 10
    assert label.n_valence_electrons == 4 * 3 + 6 * 6

    direction = np.random.default_rng(0).normal(size=(10, 3))
    direction /= np.linalg.norm(direction)
    step = 0.01
    moved = [atoms.copy(), atoms.copy()]
    for sign, copy in zip((1, -1), moved, strict=True):
        copy.positions += sign * step * direction
    slope = (oxide.compute(moved[0]).energy - oxide.compute(moved[1]).energy) / (2 * step)
    assert -np.sum(label.forces * direction) == pytest.approx(slope, abs=0.02)

    strain = 0.001
    strained = []
    for sign in (1, -1):
        matrix = np.eye(3)
        matrix[1, 2] = matrix[2, 1] = sign * strain / 2
        copy = atoms.copy()
        copy.set_cell(atoms.cell.array @ matrix, scale_atoms=True)
        strained.append(oxide.compute(copy).energy)
    tolerance = 5e-4  # eV/Å³; measured 5e-5; energies converged to 1e-6 eV an electron may be off by 3e-4 here
    assert label.stress is not None
    assert label.stress[3] == pytest.approx(
        (strained[0] - strained[1]) / (2 * strain) / atoms.get_volume(), abs=tolerance
    )
    assert np.abs(np.delete(label.stress, 3) - label.stress[3]).min() > 2 * tolerance, (
        label.stress
    )  # no other component would do
