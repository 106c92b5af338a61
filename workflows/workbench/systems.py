"""The systems of the ablation: what the first model knows, a run of the reference, and how labels are computed.

EMT (ASE's effective-medium potential) stands in for DFT for the metals, Matsui's rigid-ion model for Al2O3. Every frame of
a run comes from molecular dynamics on the reference itself, so that all arms are judged on the same physical frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import fcc100, fcc110, fcc111
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cluster import Octahedron
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from idealflow.core import MDState, Schedule, Stage, get_sampler, md_segment
from workbench.crystals import copper, corundum, nickel_aluminide
from workbench.matsui import Matsui

SOAP_SETTINGS = {"r_cut": 4.0, "n_max": 6, "l_max": 6, "sigma": 0.4}
CU, NI3AL = 3.62, 3.60  # lattice constants of the small crystals, Å


@dataclass(frozen=True)
class System:
    """One system of the ablation.

    Attributes
    ----------
    name, title : short name, and words for a table
    reference : name of the potential that stands in for DFT
    species : chemical symbols
    calculator : makes the reference
    known : structures, unlabelled, that the first model learns; of a generator
    start : the frame a run begins with; of a seed
    stages : temperature schedule of the run
    timestep : fs
    n_frames : frames kept of a run, evenly spaced; every second one is for the test
    max_atoms : budget of a substructure
    oxidation_states : for neutral crops, or None
    kind : "bulk", "boundary" or "surface": which goal the shells are held to
    batch_size : structures per gradient step
    stress : whether labels hold the stress
    expansion : linear strain of the start after it was brought to rest and to zero pressure; None: it starts as it is
    """

    name: str
    title: str
    reference: str
    species: tuple[str, ...]
    calculator: Callable[[], Calculator]
    known: Callable[[np.random.Generator], list[Atoms]]
    start: Callable[[int], Atoms]
    stages: tuple[Stage, ...]
    timestep: float = 2.0
    n_frames: int = 200
    max_atoms: int = 250
    oxidation_states: dict[str, float] | None = None
    kind: str = "bulk"
    batch_size: int = 8
    stress: bool = True
    expansion: float | None = None
    soap: dict[str, Any] = field(default_factory=lambda: dict(SOAP_SETTINGS))

    def label(self, atoms: Atoms) -> Atoms:
        """Copy of a structure with the reference's energy, forces and, in a crystal's cell, stress."""
        labelled = atoms.copy()
        labelled.calc = self.calculator()
        results = {"energy": labelled.get_potential_energy(), "forces": labelled.get_forces()}
        if self.stress and labelled.pbc.all():
            results["stress"] = labelled.get_stress()
        labelled.calc = SinglePointCalculator(labelled, **results)
        return labelled

    def run(self, seed: int, asap: bool = False) -> list[Atoms]:
        """Frames of molecular dynamics on the reference, in order; ``info["temperature"]`` is the thermostat's.

        With `asap` EMT moves the atoms in ASAP's implementation, some fifty times as fast as ASE's; on rattled frames of the
        metals here the two differed by up to 8 meV/atom. ``info["moved_by"]`` says which it was.
        """
        schedule = Schedule(list(self.stages))
        total = schedule.n_steps
        every = total // self.n_frames
        sampler = get_sampler("langevin", timestep=self.timestep, friction=0.01)
        asap = asap and self.calculator is EMT
        calculator, frames = asap_emt() if asap else self.calculator(), []
        start = self.start(seed)
        if self.expansion is not None:
            start = at_rest(start, calculator, self.expansion)
        state = MDState.initial(start, self.stages[0].temperature, seed)
        for stop in range(every, total + 1, every):
            result = md_segment(
                calculator, state, schedule=schedule, sampler=sampler, stop_step=stop, check_interval=every
            )
            state = result.state
            frame = state.atoms()
            frame.calc = None
            frame.arrays.pop("momenta", None)
            frame.info = {"temperature": schedule.temperature(state.step), "step": state.step}
            frame.info["moved_by"] = "ASAP's EMT" if asap else self.reference
            frames.append(frame)
        return frames


def asap_emt() -> Calculator:
    """EMT of ASAP. Needs ``pip install asap3``, which compiles it."""
    import asap3

    emt: Calculator = asap3.EMT()
    return emt


def perturbed(base: Atoms, n: int, rng: np.random.Generator, rattle: tuple[float, float], strain: float) -> list[Atoms]:
    """Strained and rattled copies; strain only along periodic directions."""
    copies = []
    for _ in range(n):
        atoms = base.copy()
        shear = rng.uniform(-strain, strain, (3, 3)) * np.outer(atoms.pbc, atoms.pbc)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (shear + shear.T)), scale_atoms=True)
        atoms.positions += rng.normal(0.0, rng.uniform(*rattle), atoms.positions.shape)
        copies.append(atoms)
    return copies


def known_copper(rng: np.random.Generator) -> list[Atoms]:
    """Small perfect crystals, strained and rattled."""
    return perturbed(copper(2, a=CU), 48, rng, (0.02, 0.15), 0.03)


def known_surfaces(rng: np.random.Generator) -> list[Atoms]:
    """The same, with slabs of three faces and a small particle, so that surfaces, edges and corners are known cold."""
    slabs = [make("Cu", size, a=CU, vacuum=8.0, periodic=True) for make, size in FACES]
    particle = Octahedron("Cu", 6, 1, latticeconstant=CU)
    particle.center(8.0)
    particle.pbc = True
    made = known_copper(rng)
    for slab in slabs:
        made += perturbed(slab, 24, rng, (0.02, 0.15), 0.0)
    return made + perturbed(particle, 12, rng, (0.02, 0.15), 0.0)


FACES = ((fcc111, (3, 3, 5)), (fcc100, (3, 3, 5)), (fcc110, (3, 2, 6)))


def with_vacancy(seed: int) -> Atoms:
    """863 copper atoms with one vacancy, at a volume near melting's."""
    atoms = copper(6, a=3.75)
    del atoms[int(np.random.default_rng(seed).integers(len(atoms)))]
    return atoms


def polycrystal(seed: int, length: float = 41.0, n_grains: int = 5) -> Atoms:
    """Voronoi grains of random orientation, pairs across the boundaries closer than 1.4 Å thinned; some 5 600 atoms.

    Thinned at 2.1 Å instead, the boundaries keep voids: 3.6 GPa of tension after 2 ps at 900 K, the cell relaxed before.
    """
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0.0, length, (n_grains, 3))
    shifts = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]) * length
    sites = cKDTree((centres[:, None, :] + shifts[None, :, :]).reshape(-1, 3))
    home = int(np.flatnonzero((shifts == 0.0).all(axis=1))[0])
    lattice = copper(int(1.8 * length / CU) + 1, a=CU).positions
    lattice -= lattice.mean(axis=0)
    positions = []
    for grain in range(n_grains):
        turned = lattice @ Rotation.random(rng=rng).as_matrix().T + centres[grain]
        positions.append(turned[sites.query(turned)[1] == grain * len(shifts) + home])
    atoms = Atoms(f"Cu{sum(map(len, positions))}", positions=np.concatenate(positions), cell=[length] * 3, pbc=True)
    atoms.wrap()
    gone: set[int] = set()
    for i, j in sorted(cKDTree(atoms.positions % length, boxsize=length).query_pairs(1.4)):
        if i not in gone and j not in gone:
            gone.add(j)
    del atoms[sorted(gone)]
    return atoms


def at_rest(atoms: Atoms, calculator: Calculator, expansion: float) -> Atoms:
    """At most 150 steps of FIRE on positions and 200 on positions and volume, towards rest; then a cell longer by a fraction."""
    atoms.calc = calculator
    FIRE(atoms, logfile=None, maxstep=0.1).run(fmax=0.3, steps=150)
    FIRE(FrechetCellFilter(atoms, hydrostatic_strain=True), logfile=None).run(fmax=0.05, steps=200)
    atoms.calc = None
    atoms.set_cell(atoms.cell.array * (1.0 + expansion), scale_atoms=True)
    return atoms


def particle(seed: int) -> Atoms:
    """An octahedral copper particle with cut corners, 807 atoms, in empty space."""
    atoms = Octahedron("Cu", 11, 3, latticeconstant=CU)
    atoms.center(12.0)
    atoms.pbc = False
    atoms.rattle(0.01, seed=seed)
    return atoms


def matsuis_corundum(repeat: tuple[int, int, int]) -> Atoms:
    """Corundum at the lattice constants of Matsui's model, repeated."""
    return corundum((4.681, 13.096), oxygen=0.306, aluminium=0.352).repeat(repeat)


def melting(hot: float, cold: int = 400, ramp: int = 2400, hold: int = 1200) -> tuple[Stage, ...]:
    """Hold at 300 K, heat past melting, hold there; counts of steps."""
    return (
        Stage("hold", 300, steps=cold),
        Stage("ramp", 300, hot, steps=ramp),
        Stage("hold", hot, steps=hold),
    )


SYSTEMS = {
    one.name: one
    for one in (
        System(
            "cu", "Cu with a vacancy, crystal to liquid", "EMT", ("Cu",), EMT, known_copper, with_vacancy, melting(2200)
        ),
        System(
            "ni3al",
            "Ni3Al, crystal to liquid",
            "EMT",
            ("Al", "Ni"),
            EMT,
            lambda rng: perturbed(nickel_aluminide(2, a=NI3AL), 48, rng, (0.02, 0.15), 0.03),
            lambda _: nickel_aluminide(6, a=3.70),
            melting(3000),
        ),
        System(
            "polycrystal",
            "Cu polycrystal, 900 K",
            "EMT",
            ("Cu",),
            EMT,
            known_copper,
            polycrystal,
            (Stage("ramp", 300, 900, steps=600), Stage("hold", 900, steps=1400)),
            kind="boundary",
            batch_size=2,
            expansion=0.012,
        ),
        System(
            "particle",
            "Cu particle, solid to molten",
            "EMT",
            ("Cu",),
            EMT,
            known_surfaces,
            particle,
            melting(1600),
            kind="surface",
        ),
        System(
            "al2o3",
            "Al2O3, crystal to liquid",
            "Matsui's rigid-ion model",
            ("O", "Al"),
            partial(Matsui, shifted=False),
            lambda rng: perturbed(matsuis_corundum((2, 2, 1)), 48, rng, (0.02, 0.15), 0.03),
            lambda _: matsuis_corundum((4, 4, 2)),
            melting(5000),
            timestep=1.0,
            oxidation_states={"Al": 3.0, "O": -2.0},
            # the model is cut off at 9 Å without a shift, so its stress is not the strain derivative of its energy
            stress=False,
        ),
    )
}
