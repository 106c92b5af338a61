"""Molecular dynamics by ASE's integrators: Langevin, NVE, stochastic velocity rescaling, NPT.

The integrators are ASE's. Nosé–Hoover chains are left out: those of ASE 3.29 ignore fixed atoms and a resting centre of mass when
they count degrees of freedom, and cannot change their temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from idealflow.core.dynamics.ase_motion import ASEMotion, MDSampler
from idealflow.core.dynamics.outcome import Observation
from idealflow.core.dynamics.protocol import Motion, register_sampler
from idealflow.core.dynamics.state import MDState, motion_constraints
from idealflow.errors import InputError

__all__ = ["BussiSampler", "LangevinSampler", "NPTSampler", "NVESampler"]


@register_sampler
@dataclass(frozen=True)
class LangevinSampler(MDSampler):
    """Canonical ensemble by Langevin dynamics (ASE's ``Langevin``).

    Vanden-Eijnden and Ciccotti, Chem. Phys. Lett. 429, 310, 2006.

    Unless atoms are fixed, the centre of mass rests (ASE's ``FixCom``, which counts the three lost degrees of freedom), so that
    displacements contain no drift of the whole.

    Parameters
    ----------
    timestep
        Time of a step, fs; None: 1, or 0.5 with hydrogen.
    friction
        Friction coefficient, 1/fs.

    Raises
    ------
    InputError
        If a setting is not finite and positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import Schedule, Stage, md_segment
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> hold = Schedule([Stage("hold", 300.0, steps=5)])
    >>> md_segment(EMT(), start, schedule=hold, sampler=LangevinSampler(friction=0.02)).state.step
    5
    """

    name: ClassVar[str] = "langevin"
    friction: float = 0.01

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> Motion:
        """Start moving ``atoms``."""
        atoms.set_constraint(motion_constraints(state.fixed_directions))
        integrator = Langevin(
            atoms, self._dt(state), temperature_K=temperature, friction=self.friction / units.fs, fixcm=False, rng=rng
        )
        return ASEMotion(atoms, integrator)


class _NVEMotion(ASEMotion):
    def set_temperature(self, temperature: float) -> None:
        """Energy is conserved; the schedule's temperature is only logged."""


@register_sampler
@dataclass(frozen=True)
class NVESampler(MDSampler):
    """Microcanonical ensemble by velocity Verlet (ASE's ``VelocityVerlet``).

    Parameters
    ----------
    timestep
        Time of a step, fs; None: 1, or 0.5 with hydrogen.

    Raises
    ------
    InputError
        If the time step is not finite and positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import Schedule, Stage, md_segment
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> hold = Schedule([Stage("hold", 300.0, steps=5)])
    >>> md_segment(EMT(), start, schedule=hold, sampler=NVESampler(timestep=2.0)).state.step
    5
    """

    name: ClassVar[str] = "nve"

    def start(self, state: MDState, atoms: Atoms, rng: np.random.Generator, temperature: float) -> Motion:  # noqa: ARG002 - the protocol's signature
        """Start moving ``atoms``."""
        atoms.set_constraint(motion_constraints(state.fixed_directions))
        return _NVEMotion(atoms, VelocityVerlet(atoms, self._dt(state)))


class _BussiMotion(ASEMotion):
    def set_temperature(self, temperature: float) -> None:
        # Bussi of ASE 3.29 has no method for it; nothing else in its step depends on the temperature
        self.integrator.temp = temperature * units.kB
        self.integrator.target_kinetic_energy = 0.5 * self.integrator.temp * self.integrator.ndof


@register_sampler
@dataclass(frozen=True)
class BussiSampler(MDSampler):
    """Canonical ensemble by stochastic velocity rescaling (ASE's ``Bussi``).

    Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101, 2007.

    Parameters
    ----------
    timestep
        Time of a step, fs; None: 1, or 0.5 with hydrogen.
    tau
        Relaxation time of the kinetic energy, fs.

    Raises
    ------
    InputError
        If a setting is not finite and positive; when it starts, if the atoms are at rest.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import Schedule, Stage, md_segment
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> hold = Schedule([Stage("hold", 300.0, steps=5)])
    >>> md_segment(EMT(), start, schedule=hold, sampler=BussiSampler(tau=50.0)).state.step
    5
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
        """Start moving ``atoms``."""
        atoms.set_constraint(motion_constraints(state.fixed_directions))
        integrator = Bussi(atoms, self._dt(state), temperature_K=temperature, taut=self.tau * units.fs, rng=rng)
        return _BussiMotion(atoms, integrator)


class _NPTMotion(ASEMotion):
    def step(self, temperature: float) -> None:
        super().step(temperature)
        momenta = self.atoms.arrays["momenta"]
        masses = self.integrator.masses
        momenta -= masses * (momenta.sum(axis=0) / masses.sum())

    def observe(self) -> Observation:
        seen = super().observe()
        n_atoms = len(self.atoms)
        # ASE does not know that the centre of mass rests: no constraint says so
        return seen._replace(temperature=seen.temperature * n_atoms / max(1, n_atoms - 1))

    def memory(self) -> dict[str, NDArray[Any]]:
        # the force on the cell was evaluated before the last half step of the momenta, so it cannot be computed again
        return {"p_eps": np.array(self.integrator.p_eps), "force_eps": np.array(self.integrator.force_eps)}


@register_sampler
@dataclass(frozen=True)
class NPTSampler(MDSampler):
    """Isothermal–isobaric ensemble by Langevin dynamics of atoms and cell.

    ASE's ``LangevinBAOAB`` (Quigley and Probert, J. Chem. Phys. 120, 11432, 2004, with the splitting of Leimkuhler and
    Matthews, J. Chem. Phys. 138, 174102, 2013). It needs a calculator with stress. The centre of mass is brought to rest
    after every step. Of ASE's barostats this one was chosen because its target temperature can change and its memory is only
    the cell's momentum and force.

    Parameters
    ----------
    timestep
        Time of a step, fs; None: 1, or 0.5 with hydrogen.
    pressure
        External pressure, eV/Å³ (1 GPa = 0.00624 eV/Å³).
    tau
        Relaxation time of the atoms' momenta, fs.
    tau_cell
        Period and relaxation time of the cell, fs; with the number of atoms it gives the cell's mass, as in ASE.
    hydrostatic
        Keep the shape of the cell and change its volume only.

    Raises
    ------
    InputError
        If a setting is not finite, or one other than the pressure is not positive; when it starts, if atoms are fixed or the
        cell is not periodic in three directions.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import Schedule, Stage, md_segment
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> hold = Schedule([Stage("hold", 300.0, steps=5)])
    >>> md_segment(EMT(), start, schedule=hold, sampler=NPTSampler(pressure=0.006)).state.step
    5
    """

    name: ClassVar[str] = "npt"
    memory_names: ClassVar[frozenset[str]] = frozenset({"p_eps", "force_eps"})
    pressure: float = 0.0
    tau: float = 100.0
    tau_cell: float = 1000.0
    hydrostatic: bool = True

    def check(self, state: MDState) -> None:
        """Refuse fixed atoms and open directions: the cell moves all atoms and needs a volume."""
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
        """Start moving ``atoms``."""
        atoms.set_constraint()
        tau_cell = self.tau_cell * units.fs
        # ASE's own estimate for a period of tau_cell / 4, computed here because ASE warns whenever it uses it
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
