"""Plain data that goes into a segment and comes out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.dynamics.state import MDState
from idealflow.errors import InputError

__all__ = ["CheckOutcome", "Checkpoint", "Limits", "Observation", "SegmentResult"]

Reason = Literal["triggered", "schedule_end", "segment_end", "wall_time", "blow_up"]


class Observation(NamedTuple):
    """What a sampler at work knows of its current frame.

    Attributes
    ----------
    potential_energy
        eV.
    forces : (n_atoms, 3), eV/Å
        On every atom, fixed or not; None if the sampler needs no forces.
    temperature
        K; NaN if there are no velocities.
    pressure
        Mean of the three diagonal components, virial and motion of the atoms, eV/Å³; NaN where the calculator gave no stress.

    Examples
    --------
    >>> Observation(potential_energy=-3.5, forces=None, temperature=math.nan).forces is None
    True
    """

    potential_energy: float
    forces: NDArray[np.float64] | None
    temperature: float
    pressure: float = math.nan


@dataclass(frozen=True)
class Limits:
    """What a physical frame never exceeds; a frame that does has blown up.

    Parameters
    ----------
    max_force
        Largest force on an atom, eV/Å.
    max_temperature
        Largest instantaneous temperature, K.
    max_kinetic_energy
        Largest kinetic energy of an atom, eV. Two atoms that a wrong force throws apart between two screens are as fast after it,
        while nothing of it is left in the positions.

    Raises
    ------
    InputError
        If a limit is not positive.

    Examples
    --------
    >>> from ase import Atoms
    >>> seen = Observation(0.0, np.array([[120.0, 0.0, 0.0]]), 300.0)
    >>> Limits().trouble(Atoms("Cu"), seen, fixed=np.zeros((1, 3), dtype=bool))
    'the force on atom 0 is 120.0 eV/Å, limit 100'
    """

    max_force: float = 100.0
    max_temperature: float = 10_000.0
    max_kinetic_energy: float = math.inf

    def __post_init__(self) -> None:
        for name in ("max_force", "max_temperature", "max_kinetic_energy"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"`{name}` must be positive, got {getattr(self, name)}; use inf for no limit")

    def trouble(self, atoms: Atoms, seen: Observation, fixed: NDArray[np.bool_]) -> str:
        """Say in words what is unphysical about a frame; empty if nothing is.

        In ``fixed`` directions, (n_atoms, 3) bool, any finite force is allowed.
        """
        if not (np.isfinite(atoms.positions).all() and np.isfinite(np.asarray(atoms.cell)).all()):
            return "positions or cell are not finite"
        if not math.isfinite(seen.potential_energy):
            return f"the potential energy is {seen.potential_energy}"
        if seen.forces is not None:
            if not np.isfinite(seen.forces).all():
                return "forces are not finite"
            largest = np.linalg.norm(seen.forces * ~fixed, axis=1)
            if largest.max() > self.max_force:
                return (
                    f"the force on atom {int(largest.argmax())} is {largest.max():.1f} eV/Å, limit {self.max_force:g}"
                )
        if not math.isnan(seen.temperature) and not seen.temperature <= self.max_temperature:
            return f"the temperature is {seen.temperature:.0f} K, limit {self.max_temperature:g}"
        if "momenta" in atoms.arrays and math.isfinite(self.max_kinetic_energy):
            energies = 0.5 * (atoms.arrays["momenta"] ** 2).sum(axis=1) / atoms.get_masses()
            if not energies.max() <= self.max_kinetic_energy:
                fastest = int(energies.argmax())
                return f"the kinetic energy of atom {fastest} is {energies.max():.1f} eV, limit {self.max_kinetic_energy:.4g}"
        return ""


@dataclass(frozen=True)
class CheckOutcome:
    """What a check says of a frame.

    Attributes
    ----------
    stop
        Whether the segment ends at this frame.
    max_uncertainty
        Highest uncertainty of an atom, for the log; NaN if there is none.
    data
        Anything else; comes back in :attr:`SegmentResult.check`.

    Examples
    --------
    >>> CheckOutcome(stop=True, max_uncertainty=7.3).stop
    True
    """

    stop: bool
    max_uncertainty: float = math.nan
    data: Any = None


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a segment saves itself.

    Parameters
    ----------
    path
        File, replaced atomically at every checkpoint. If it exists when the segment starts, the segment continues
        from it. It stays when the segment ends; delete it once the result is stored.
    interval
        Steps between checkpoints, a multiple of the segment's ``check_interval``. None: ten times that.
    key
        Anything else the segment depends on, for instance the version of the model; a checkpoint with another key is refused.

    Examples
    --------
    >>> Checkpoint("md.npz", interval=500, key="model 3").interval
    500
    """

    path: str | Path
    interval: int | None = None
    key: str = ""


@dataclass(frozen=True)
class SegmentResult:
    """How a segment ended.

    Parameters
    ----------
    state
        The last frame; after a blow-up, the last frame that was looked at and found good.
    reason
        ``triggered`` (a check said stop), ``schedule_end``, ``segment_end`` (``stop_step``), ``wall_time`` or
        ``blow_up``.
    check
        What ``check`` returned for the frame of ``state``; None if that frame was not checked.
    log
        One row for each check frame: ``step``, ``time_fs``, ``temperature`` (K), ``potential_energy`` (eV), ``target``
        (temperature of the schedule, K), ``max_uncertainty`` (NaN without a check), ``volume`` (Å³; NaN unless the cell is
        periodic in three directions), ``pressure`` (eV/Å³; NaN unless the calculator gives stress with the forces). A starting
        frame at which a check stops has none, since its energy is not computed.
    suspect_frames
        After a blow-up: the frames since the last good one that have finite positions, oldest first, at most the last 16, with
        ``step`` in info.
    detail
        What blew up, in words; else empty.
    n_frames
        Number of frames in the trajectory file.

    Examples
    --------
    >>> from ase import Atoms
    >>> state = MDState.initial(Atoms("Cu"), temperature=None, seed=0)
    >>> SegmentResult(state, "segment_end", check=None, log=[]).suspect_frames
    []
    """

    state: MDState
    reason: Reason
    check: CheckOutcome | None
    log: list[dict[str, float]]
    suspect_frames: list[Atoms] = field(default_factory=list)
    detail: str = ""
    n_frames: int = 0
