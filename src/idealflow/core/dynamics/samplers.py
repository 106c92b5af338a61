"""Molecular dynamics by ASE's integrators: Langevin, NVE, stochastic velocity rescaling, NPT.

Nothing is integrated here. Nosé–Hoover chains are left out: ASE 3.29's ignore fixed atoms and a resting centre of mass
in their count of degrees of freedom, and cannot change their temperature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from idealflow.core.dynamics.outcome import Observation
from idealflow.core.dynamics.protocol import Motion, check_memory, register_sampler
from idealflow.core.dynamics.state import MDState, motion_constraints
from idealflow.errors import InputError

__all__ = ["BussiSampler", "LangevinSampler", "NPTSampler", "NVESampler", "default_time_step"]


_LONGEST_STEP = 100.0  # fs; atoms cross several bonds in it, whatever they are


def default_time_step(numbers: NDArray[np.int64]) -> float:
    """Return 1 fs, or 0.5 fs where there is hydrogen, whose bonds vibrate within about 9 fs."""
    return 0.5 if (np.asarray(numbers) == 1).any() else 1.0


@dataclass(frozen=True)
class _MDSampler:
    """What the molecular-dynamics samplers share."""

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
        """Return the time of one step, fs: 1, or 0.5 where there is hydrogen, unless given."""
        return self.timestep if self.timestep is not None else default_time_step(state.numbers)

    def check(self, state: MDState) -> None:
        """Refuse a state without free atoms, or with another sampler's memory."""
        check_memory(self.name, self.memory_names, state)
        if state.fixed.all():
            raise InputError("dynamics needs a free atom, got all atoms fixed; free some")

    def _dt(self, state: MDState) -> float:
        return self.time_step(state) * float(units.fs)


class _ASEMotion:
    """An ASE integrator driven step by step; its only memory is the atoms and the generator."""

    def __init__(self, atoms: Atoms, integrator: Any) -> None:
        self.atoms = atoms
        self.integrator = integrator
        self.target = math.nan

    def step(self, temperature: float) -> None:
        if temperature != self.target:
            self.set_temperature(temperature)
            self.target = temperature
        self.integrator.step()

    def set_temperature(self, temperature: float) -> None:
        self.integrator.set_temperature(temperature_K=temperature)

    def observe(self) -> Observation:
        forces = self.atoms.get_forces(apply_constraint=False)
        return Observation(
            float(self.atoms.get_potential_energy(apply_constraint=False)), forces, float(self.atoms.get_temperature())
        )

    def memory(self) -> dict[str, NDArray[Any]]:
        return {}


@register_sampler
@dataclass(frozen=True)
class LangevinSampler(_MDSampler):
    """Canonical ensemble by Langevin dynamics (ASE's ``Langevin``; Vanden-Eijnden and Ciccotti, 2006).

    The centre of mass rests (ASE's ``FixCom``, which counts the three lost degrees of freedom) unless atoms are
    fixed, so that displacements hold no drift of the whole.

    Parameters
    ----------
    timestep
        Time of a step, fs; None: 1, or 0.5 with hydrogen.
    friction
        Friction coefficient, 1/fs.
    """

    name: ClassVar[str] = "langevin"
    friction: float = 0.01

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> Motion:
        """Bind to ``atoms``."""
        atoms.set_constraint(motion_constraints(state.fixed_directions))
        integrator = Langevin(
            atoms, self._dt(state), temperature_K=temperature, friction=self.friction / units.fs, fixcm=False, rng=rng
        )
        return _ASEMotion(atoms, integrator)


class _NVEMotion(_ASEMotion):
    def set_temperature(self, temperature: float) -> None:
        """Energy is conserved; the schedule's temperature is only logged."""


@register_sampler
@dataclass(frozen=True)
class NVESampler(_MDSampler):
    """Microcanonical ensemble by velocity Verlet (ASE's ``VelocityVerlet``).

    Parameters
    ----------
    timestep
        Time of a step, fs; None: 1, or 0.5 with hydrogen.
    """

    name: ClassVar[str] = "nve"

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> Motion:  # noqa: ARG002 - the protocol's signature
        """Bind to ``atoms``."""
        atoms.set_constraint(motion_constraints(state.fixed_directions))
        return _NVEMotion(atoms, VelocityVerlet(atoms, self._dt(state)))


class _BussiMotion(_ASEMotion):
    def set_temperature(self, temperature: float) -> None:
        # ASE 3.29 gives Bussi no setter; this is the only quantity of its step that depends on the temperature
        self.integrator.temp = temperature * units.kB
        self.integrator.target_kinetic_energy = 0.5 * self.integrator.temp * self.integrator.ndof


@register_sampler
@dataclass(frozen=True)
class BussiSampler(_MDSampler):
    """Canonical ensemble by stochastic velocity rescaling (ASE's ``Bussi``; Bussi, Donadio and Parrinello, 2007).

    Parameters
    ----------
    timestep
        Time of a step, fs; None: 1, or 0.5 with hydrogen.
    tau
        Relaxation time of the kinetic energy, fs.
    """

    name: ClassVar[str] = "bussi"
    tau: float = 100.0

    def check(self, state: MDState) -> None:
        """Refuse a state at rest: rescaling cannot start it."""
        super().check(state)
        if not state.momenta.any():
            raise InputError(
                "the 'bussi' sampler rescales velocities and needs some, got a state at rest; start above 0 K or use "
                "'langevin'"
            )

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> Motion:
        """Bind to ``atoms``."""
        atoms.set_constraint(motion_constraints(state.fixed_directions))
        integrator = Bussi(atoms, self._dt(state), temperature_K=temperature, taut=self.tau * units.fs, rng=rng)
        return _BussiMotion(atoms, integrator)


class _NPTMotion(_ASEMotion):
    def step(self, temperature: float) -> None:
        super().step(temperature)
        momenta = self.atoms.arrays["momenta"]
        masses = self.integrator.masses
        momenta -= masses * (momenta.sum(axis=0) / masses.sum())

    def observe(self) -> Observation:
        seen = super().observe()
        n_atoms = len(self.atoms)
        # the centre of mass rests without a constraint to say so
        return seen._replace(temperature=seen.temperature * n_atoms / max(1, n_atoms - 1))

    def memory(self) -> dict[str, NDArray[Any]]:
        # the cell's force is evaluated before the last half step of the momenta, so it cannot be recomputed
        return {"p_eps": np.array(self.integrator.p_eps), "force_eps": np.array(self.integrator.force_eps)}


@register_sampler
@dataclass(frozen=True)
class NPTSampler(_MDSampler):
    """Isothermal–isobaric ensemble by Langevin dynamics of atoms and cell.

    ASE's ``LangevinBAOAB`` (Quigley and Probert 2004 with the splitting of Leimkuhler and Matthews 2013). Needs a
    calculator with stress. The centre of mass is brought to rest after every step. Chosen over ASE's other barostats
    because its target temperature can change and its whole memory is the cell's momentum and force.

    Parameters
    ----------
    timestep
        Time of a step, fs; None: 1, or 0.5 with hydrogen.
    pressure
        External pressure, eV/Å³ (1 GPa = 0.00624 eV/Å³).
    tau
        Relaxation time of the atoms' momenta, fs.
    tau_cell
        Period and relaxation time of the cell, fs; with the number of atoms it sets the cell's mass as ASE does.
    hydrostatic
        Keep the shape of the cell and change its volume only.
    """

    name: ClassVar[str] = "npt"
    memory_names: ClassVar[frozenset[str]] = frozenset({"p_eps", "force_eps"})
    pressure: float = 0.0
    tau: float = 100.0
    tau_cell: float = 1000.0
    hydrostatic: bool = True

    def check(self, state: MDState) -> None:
        """Refuse fixed atoms and open directions: the cell scales all atoms and needs a volume."""
        super().check(state)
        if (n_fixed := int(state.fixed_directions.any(axis=1).sum())) > 0:
            raise InputError(
                f"the 'npt' sampler moves all atoms with the cell, got {n_fixed} fixed atoms; free them or use 'langevin'"
            )
        if not state.pbc.all():
            raise InputError(
                f"the 'npt' sampler needs a cell periodic in three directions, got pbc {state.pbc.tolist()}; use "
                "'langevin'"
            )

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> Motion:
        """Bind to ``atoms``."""
        atoms.set_constraint()
        tau_cell = self.tau_cell * units.fs
        # ASE's heuristic for a period of tau_cell / 4, written out because ASE warns whenever it uses it
        cell_mass = ((tau_cell / 4.0) / (1.66 * units.fs) * len(atoms) ** (1.0 / 6.0)) ** 2
        integrator = LangevinBAOAB(
            atoms,
            self._dt(state),
            temperature_K=temperature,
            externalstress=-self.pressure,
            hydrostatic=self.hydrostatic,
            T_tau=self.tau * units.fs,
            P_tau=tau_cell,
            P_mass=cell_mass,
            rng=rng,
        )
        for name, value in state.sampler_state.items():
            setattr(integrator, name, float(value) if self.hydrostatic else np.array(value))
        return _NPTMotion(atoms, integrator)
