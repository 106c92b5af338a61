"""A first set of labels for iridium in nitrogen and hydrogen: random placement and short relaxations, on faces and on edges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.optimize import FIRE

from idealflow.core import SOAP, UncertaintyModel
from idealflow.errors import InputError
from idealflow.structures import crystal, gas_around, particle, slab

LATTICE = 3.88  # Å
PLACED = {"slab": 20, "particle": 36, "gas": 12, "bulk": 12}  # structures of each kind
ADSORBED = {"N": 8, "H": 20}  # at most so many atoms on a body
FLOATING = {"N2": 2, "H2": 3, "NH": 1, "NH2": 1, "NH3": 1}  # at most so many molecules beside a body
RELAXED = 6  # steps of a short relaxation
WARM = (
    0.02,
    0.25,
)  # Å; standard deviation of random displacements of the metal, and below that of what lies on it and around
LIGHT = (0.02, 0.12)
LARGEST = 50.0  # eV/Å; what has a larger component of a force is not labelled
DRAWS = 50  # for each structure


def placed(kind: str, rng: np.random.Generator, warm: tuple[float, float] = WARM) -> Atoms:
    """One structure: atoms and molecules at random on a slab or a small particle, a gas without metal, or a strained crystal.

    Parameters
    ----------
    kind
        One of :data:`PLACED`.
    rng
        Where what is random comes from.
    warm
        Range of the standard deviation of the metal's random displacements, Å.

    Raises
    ------
    InputError
        If molecules find no room; another draw may.
    """
    seed = int(rng.integers(2**31))
    molecules = {name: int(rng.integers(most + 1)) for name, most in FLOATING.items()}
    if kind == "gas":
        empty = Atoms(cell=np.eye(3) * rng.uniform(8.0, 10.0), pbc=True)
        more = {name: n + molecules[name] for name, n in {"N2": 2, "H2": 4, "NH3": 1}.items()}
        made = gas_around(empty, molecules | more, distance=1.9, seed=seed)
    elif kind == "bulk":
        made = crystal("Ir", a=LATTICE, cubic=True, repeat=2)
        strain = rng.uniform(-0.04, 0.04, (3, 3))
        made.set_cell(made.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
    else:
        lattice = LATTICE * rng.uniform(0.98, 1.02)
        if kind == "slab":
            body = slab("Ir", miller=(1, 1, 1), layers=3, repeat=(2, 2), a=lattice, vacuum=5.0)
        else:
            body = particle("Ir", shape="octahedron", length=4, cut=1, a=lattice, vacuum=4.0)
        body.pbc = True
        adsorbed = {symbol: int(rng.integers(most + 1)) for symbol, most in ADSORBED.items()}
        made = gas_around(body, molecules, adsorbed=adsorbed, distance=1.9, spacing=1.9, seed=seed)
    metal = made.symbols == "Ir"
    sizes = np.where(metal, rng.uniform(*warm), rng.uniform(*LIGHT))
    made.positions += sizes[:, None] * rng.normal(size=made.positions.shape)
    return made


def first_set(calculator: Calculator, counts: dict[str, int] | None = None, seed: int = 0) -> list[Atoms]:
    """Structures with energy, forces and stress; ``info["kind"]`` says what each is.

    Slabs, particles and gases are labelled as placed and once more after a short relaxation; crystals as placed.

    Parameters
    ----------
    calculator
        What labels and relaxes them.
    counts
        Structures of each kind that are placed.
    seed
        Of everything that is drawn.

    Raises
    ------
    InputError
        If some structure never comes out well.
    """
    labelled: list[Atoms] = []
    for number, (kind, count) in enumerate((counts or PLACED).items()):
        for one in range(count):
            atoms = _calm(kind, calculator, np.random.default_rng([seed, number, one]))
            labelled.append(kept(atoms, kind))
            if kind != "bulk":
                FIRE(atoms, logfile=None).run(fmax=0.05, steps=RELAXED)
                labelled.append(kept(atoms, f"{kind}-relaxed"))
    return labelled


def _calm(kind: str, calculator: Calculator, rng: np.random.Generator) -> Atoms:
    """The first draw that has room for its molecules and no force beyond :data:`LARGEST`."""
    for _ in range(DRAWS):
        try:
            atoms = placed(kind, rng)
        except InputError:  # no room
            continue
        atoms.calc = calculator
        if np.abs(atoms.get_forces()).max() <= LARGEST:
            return atoms
    raise InputError(f"none of {DRAWS} draws of a {kind} had room and forces up to {LARGEST:g} eV/Å; allow larger ones")


def kept(atoms: Atoms, kind: str) -> Atoms:
    """A copy with the label as results."""
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
    copy = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info={"kind": kind})
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def write_first_set(file: Path, calculator: Calculator) -> None:
    """Make the first set, unless the file is there."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"partial-{file.name}")
        write(partial, first_set(calculator))
        partial.rename(file)


def contents(frames: list[Atoms]) -> list[dict[str, Any]]:
    """How many structures of each kind there are, their fewest and most atoms, and the median of their largest force, eV/Å."""
    rows = []
    for kind in dict.fromkeys(atoms.info["kind"] for atoms in frames):
        mine = [atoms for atoms in frames if atoms.info["kind"] == kind]
        sizes = [len(atoms) for atoms in mine]
        forces = [float(np.linalg.norm(atoms.get_forces(), axis=1).max()) for atoms in mine]
        about = {"kind": kind, "n": len(mine), "least": min(sizes), "most": max(sizes)}
        rows.append(about | {"force": float(np.median(forces))})
    return rows


def triggering(frames: Sequence[Atoms], soap: dict[str, Any]) -> list[dict[str, Any]]:
    """How much of some frames is new to first sets whose metal is cold, and to those whose metal is displaced as when it is hot.

    Structures as they are placed, without relaxation and labels, twice as many as :data:`PLACED` says; the default uncertainty
    and its own threshold. Returned is, for both, the mean number of atoms of each element above it in a frame.
    """
    rows = []
    for name, warm in (("cold", LIGHT), ("warm", WARM)):
        known = []
        for number, (kind, count) in enumerate(PLACED.items()):
            draws = (np.random.default_rng([1, number, one]) for one in range(2 * count))
            known += [made for made in (_with_room(kind, rng, warm) for rng in draws) if made is not None]
        measure = UncertaintyModel.fit(known, SOAP(["H", "Ir", "N"], **soap))
        threshold = measure.auto_threshold()
        above = [measure(atoms) > threshold for atoms in frames]
        counts = {
            symbol: float(
                np.mean([np.sum(one & (atoms.symbols == symbol)) for one, atoms in zip(above, frames, strict=True)])
            )
            for symbol in ("Ir", "N", "H")
        }
        rows.append({"first_set": name, "upto": warm[1], "n_structures": len(known), "threshold": threshold, **counts})
    return rows


def _with_room(kind: str, rng: np.random.Generator, warm: tuple[float, float]) -> Atoms | None:
    try:
        return placed(kind, rng, warm)
    except InputError:  # no room in this draw
        return None
