"""Plain data that goes into and comes out of a segment."""

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
    """What a motion knows of its current frame.

    ``potential_energy`` in eV; ``forces`` (n_atoms, 3) in eV/Å without constraints, or None where the sampler needs
    none; ``temperature`` in K, or NaN where there are no velocities.
    """

    potential_energy: float
    forces: NDArray[np.float64] | None
    temperature: float


@dataclass(frozen=True)
class Limits:
    """What a physical frame never exceeds; a frame that does has blown up.

    Parameters
    ----------
    max_force
        Largest force on an atom, eV/Å.
    max_temperature
        Largest instantaneous temperature, K.
    """

    max_force: float = 100.0
    max_temperature: float = 10_000.0

    def __post_init__(self) -> None:
        for name in ("max_force", "max_temperature"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"`{name}` must be positive, got {getattr(self, name)}; use inf for no limit")

    def trouble(self, atoms: Atoms, seen: Observation, fixed: NDArray[np.bool_]) -> str:
        """Say in words what is unphysical about a frame; empty if nothing is.

        Any finite force may act in directions that are ``fixed``, (n_atoms, 3) bool.
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
        return ""


@dataclass(frozen=True)
class CheckOutcome:
    """What a check says of a frame: whether to stop there, its highest uncertainty, anything else in ``data``."""

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
        Steps between checkpoints, a multiple of the segment's ``check_interval``; None: ten of those.
    key
        Anything else the segment depends on (the version of the model, say): a checkpoint of another key is refused.
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
        One row per check frame: step, time_fs, temperature (K), potential_energy (eV), target (K), max_uncertainty
        (NaN without a check).
    suspect_frames
        After a blow-up: the finite frames since the last good one, oldest first, the last 16 at most, with ``step``
        in info.
    detail
        What blew up, in words; empty otherwise.
    n_frames
        Number of frames in the trajectory file.
    """

    state: MDState
    reason: Reason
    check: CheckOutcome | None
    log: list[dict[str, float]]
    suspect_frames: list[Atoms] = field(default_factory=list)
    detail: str = ""
    n_frames: int = 0
