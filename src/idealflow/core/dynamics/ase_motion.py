"""What the molecular-dynamics samplers share: their time step, and ASE's integrators driven step by step."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray

from idealflow.core.dynamics.outcome import Observation
from idealflow.core.dynamics.protocol import check_memory
from idealflow.core.dynamics.state import MDState
from idealflow.errors import InputError

__all__ = ["ASEMotion", "MDSampler", "default_time_step"]

_LONGEST_STEP = 100.0  # fs; any atom at any temperature of interest crosses several bonds in it


def default_time_step(numbers: NDArray[np.int64]) -> float:
    """Time step, fs: 1, or 0.5 with hydrogen, whose bonds vibrate with a period of about 9 fs.

    Parameters
    ----------
    numbers : (n_atoms,)
        Atomic numbers.

    Examples
    --------
    >>> default_time_step(np.array([8, 1, 1]))
    0.5
    """
    return 0.5 if (np.asarray(numbers) == 1).any() else 1.0


@dataclass(frozen=True)
class MDSampler:
    """What the molecular-dynamics samplers share: the time step, and rules of their settings.

    Parameters
    ----------
    timestep
        Time of a step, fs, at most 100; None: 1, or 0.5 with hydrogen.

    Raises
    ------
    InputError
        If a setting is not finite, or one other than a pressure is not positive.

    Examples
    --------
    >>> from ase.build import molecule
    >>> MDSampler().time_step(MDState.initial(molecule("H2O"), temperature=None, seed=0))
    0.5
    """

    name: ClassVar[str]
    memory_names: ClassVar[frozenset[str]] = frozenset()
    timestep: float | None = None

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if value is None or isinstance(value, bool):
                continue
            if not math.isfinite(value):
                raise InputError(f"`{setting.name}` must be finite, got {value}")
            if setting.name != "pressure" and value <= 0.0:
                raise InputError(f"`{setting.name}` must be positive, got {value}; times are in fs")
        if self.timestep is not None and self.timestep > _LONGEST_STEP:
            raise InputError(
                f"`timestep` must be at most {_LONGEST_STEP:g} fs, got {self.timestep:g}; "
                "times are in fs, 1 or 2 are usual"
            )

    def time_step(self, state: MDState) -> float:
        """Return the time of one step, fs: ``timestep`` if given, else 1, or 0.5 with hydrogen."""
        return self.timestep if self.timestep is not None else default_time_step(state.numbers)

    def check(self, state: MDState) -> None:
        """Refuse a state without free atoms, or with another sampler's memory."""
        check_memory(self.name, self.memory_names, state)
        if state.fixed.all():
            raise InputError("dynamics needs a free atom, got all atoms fixed; free some")

    def _dt(self, state: MDState) -> float:
        return self.time_step(state) * float(units.fs)


class ASEMotion:
    """An ASE integrator driven step by step; it has no memory besides atoms and generator.

    Parameters
    ----------
    atoms
        The moving atoms, with a calculator.
    integrator
        ASE's, bound to these atoms.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.md.langevin import Langevin
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.calc = EMT()
    >>> integrator = Langevin(atoms, units.fs, temperature_K=300.0, friction=0.1 / units.fs, fixcm=False)
    >>> motion = ASEMotion(atoms, integrator)
    >>> motion.step(300.0)
    >>> motion.observe().temperature > 0.0
    True
    """

    def __init__(self, atoms: Atoms, integrator: Any) -> None:
        self.atoms = atoms
        self.integrator = integrator
        self.target = math.nan

    def step(self, temperature: float) -> None:
        """Move one step at the target temperature, K."""
        if temperature != self.target:
            self.set_temperature(temperature)
            self.target = temperature
        self.integrator.step()

    def set_temperature(self, temperature: float) -> None:
        """Set the integrator's target temperature, K."""
        self.integrator.set_temperature(temperature_K=temperature)

    def observe(self) -> Observation:
        """Energy, forces, temperature and pressure of the current frame."""
        forces = self.atoms.get_forces(apply_constraint=False)
        return Observation(
            float(self.atoms.get_potential_energy(apply_constraint=False)),
            forces,
            float(self.atoms.get_temperature()),
            self._pressure(),
        )

    def _pressure(self) -> float:
        """Pressure, eV/Å³, from the stress that came with the forces; it is never computed for this alone."""
        stress = getattr(self.atoms.calc, "results", {}).get("stress")
        if stress is None or not self.atoms.pbc.all():
            return math.nan
        virial = -float(np.mean(np.asarray(stress)[:3]))
        return virial + 2.0 * float(self.atoms.get_kinetic_energy()) / (3.0 * float(self.atoms.cell.volume))

    def memory(self) -> dict[str, NDArray[Any]]:
        """Nothing besides atoms and generator."""
        return {}
