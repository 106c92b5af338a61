"""What a model knows after a crystal was melted, and what it then meets: known phases, other phases, defects.

Labels are EMT's for copper, aluminium and Ni3Al, and SNAP's for lithium; both stand in for first principles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from workbench.crystals import nickel_aluminide, rattled
from workbench.snap import lithium_snap


@dataclass(frozen=True)
class Phases:
    """A system whose crystal and liquid are known.

    Attributes
    ----------
    name, species
    calculator : makes the reference
    crystal : the crystal that is known, some 200 atoms
    cold, hot, melting : temperatures of crystal and liquid, and where the crystal is melted, K
    others : perfect crystals of other phases, by name, some 100 atoms
    """

    name: str
    species: tuple[str, ...]
    calculator: Callable[[], Calculator]
    crystal: Callable[[], Atoms]
    cold: float
    hot: float
    melting: float
    others: dict[str, Callable[[], Atoms]] = field(default_factory=dict)

    def label(self, atoms: Atoms, calculator: Calculator | None = None) -> Atoms:
        """A copy, at rest, with energy (eV), forces (eV/Å) and stress (eV/Å³)."""
        frame = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        frame.calc = self.calculator() if calculator is None else calculator
        energy, forces, stress = frame.get_potential_energy(), frame.get_forces().copy(), frame.get_stress()
        frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces, stress=stress)
        return frame

    def run(
        self, atoms: Atoms, n: int, temperature: float, seed: int, *, settle: int = 0, every: int = 40
    ) -> list[Atoms]:
        """Labelled frames of a Langevin run on the reference, 2 fs a step."""
        rng = np.random.default_rng([seed, 1])
        atoms, calculator = atoms.copy(), self.calculator()
        atoms.calc = calculator
        thermalize_momenta(atoms, temperature_K=2 * temperature, rng=rng)
        dynamics = Langevin(
            atoms, 2.0 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, rng=rng, fixcm=False
        )
        frames = []
        dynamics.run(settle)
        for _ in range(n):
            dynamics.run(every)
            frames.append(self.label(atoms, calculator))
        return frames

    def melted(self) -> Atoms:
        """The crystal after it was melted, at rest."""
        return self.run(self.crystal(), 1, self.melting, seed=3, settle=700)[0]

    def known(self, n: int = 12) -> dict[str, list[Atoms]]:
        """What the model has learned, ``n`` frames of the crystal and ``n`` of the liquid; and a quarter as many for tests."""
        crystal = self.run(self.crystal(), n + n // 4, self.cold, seed=1, settle=200)
        liquid = self.run(self.melted(), n + n // 4, self.hot, seed=2, settle=300)
        return {
            "crystal": crystal[:n], "liquid": liquid[:n], "crystal, new": crystal[n:], "liquid, new": liquid[n:],
        }  # fmt: skip

    def unknown(self) -> dict[str, list[Atoms]]:
        """What it meets: other phases, perfect and displaced by 0.05 and 0.15 Å; a vacancy's and an interstitial's crystal."""
        calculator = self.calculator()
        made: dict[str, list[Atoms]] = {}
        for name, make in self.others.items():
            ideal = make()
            made[f"{name}, ideal"] = [ideal]
            for width in (0.05, 0.15):
                made[f"{name}, {width:g} Å"] = [rattled(ideal, width, [seed, 7]) for seed in range(2)]
        vacancy, interstitial = self.crystal(), self.crystal()
        del vacancy[5]
        interstitial.append(interstitial[5])
        interstitial.positions[5, 0] -= 0.6
        interstitial.positions[-1, 0] += 0.6
        found = {name: [self.label(atoms, calculator) for atoms in frames] for name, frames in made.items()}
        for name, atoms, seed in (("vacancy", vacancy, 4), ("interstitial", interstitial, 5)):
            found[name] = self.run(atoms, 3, self.cold, seed=seed, settle=100)
        return found


def close_packed_9r() -> Atoms:
    """Lithium in its stacking of nine layers, ABCBCACAB: 225 atoms."""
    from ase.spacegroup import crystal

    return crystal(
        ("Li", "Li"), [(0, 0, 0), (0, 0, 0.2226)], spacegroup=166, cellpar=[2.985, 2.985, 22.108, 90, 90, 120]
    ).repeat((5, 5, 1))


def _bcc(symbol: str, a: float) -> Callable[[], Atoms]:
    return lambda: bulk(symbol, "bcc", a=a, cubic=True) * 4


def _fcc(symbol: str, a: float, repeat: int = 4) -> Callable[[], Atoms]:
    return lambda: bulk(symbol, "fcc", a=a, cubic=True) * repeat


def _hcp(symbol: str, a: float) -> Callable[[], Atoms]:
    return lambda: bulk(symbol, "hcp", a=a, c=a * (8 / 3) ** 0.5, orthorhombic=True) * (4, 3, 3)


def d03() -> Atoms:
    """Ni₃Al on a body-centred lattice: D0₃, 128 atoms."""
    atoms = bulk("Ni", "bcc", a=2.86, cubic=True) * 4
    places = np.rint(atoms.positions / 1.43).astype(int)
    aluminium = (places % 2 == 1).all(axis=1) & ((places.sum(axis=1) // 2) % 2 == 1)
    atoms.symbols[aluminium] = "Al"
    return atoms


SYSTEMS = {
    each.name: each
    for each in (
        Phases(
            "Cu", ("Cu",), EMT, _fcc("Cu", 3.64), 400, 1800, 4500, {"bcc": _bcc("Cu", 2.88), "hcp": _hcp("Cu", 2.57)}
        ),
        Phases(
            "Al", ("Al",), EMT, _fcc("Al", 4.01), 400, 1200, 3000, {"bcc": _bcc("Al", 3.19), "hcp": _hcp("Al", 2.83)}
        ),
        Phases("Ni3Al", ("Ni", "Al"), EMT, lambda: nickel_aluminide(4), 400, 2200, 5500, {"D03": d03}),
        Phases(
            "Li",
            ("Li",),
            lithium_snap,
            close_packed_9r,
            200,
            800,
            2500,
            {"bcc": _bcc("Li", 3.43), "fcc": _fcc("Li", 4.33, 3)},
        ),
    )
}
