"""Energy and density along a ladder of temperatures at constant pressure, by any calculator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core.dynamics import Checkpoint, MDState, NPTSampler, Sampler, Schedule, SegmentFiles, Stage, md_segment
from idealflow.errors import InputError

__all__ = ["Rung", "heat"]

_GRAMS_PER_CM3 = 1.66053906660  # of one u/Å³
_INTERVAL = 10  # steps between the frames that are averaged over


@dataclass(frozen=True)
class Rung:
    """Averages of a run at one temperature.

    Attributes
    ----------
    target, temperature
        What was asked for, and the mean of what it was, K.
    energy
        Potential energy, eV per atom.
    volume
        Å³ per atom.
    density
        g/cm³.
    pressure
        Mean, eV/Å³; NaN where the calculator gives no stress with the forces.

    Examples
    --------
    >>> Rung(300.0, 301.2, -1.87, 21.0, 0.549, 0.0).density
    0.549
    """

    target: float
    temperature: float
    energy: float
    volume: float
    density: float
    pressure: float


def heat(
    calculator: Any,
    atoms: Atoms,
    temperatures: Sequence[float],
    *,
    steps: int,
    settle: float = 0.4,
    sampler: Sampler | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> list[Rung]:
    """Hold a system at one temperature after another in a single run, and average at each.

    A crystal without surfaces melts above its melting temperature in such a scan, so the place where density and energy jump
    (:func:`~idealflow.analysis.jump`) is an upper bound.

    Parameters
    ----------
    calculator
        ASE calculator; with stress for a sampler at constant pressure.
    atoms
        Where the run starts; velocities are drawn.
    temperatures
        K, in the order in which they are run.
    steps
        MD steps at each temperature.
    settle
        Share of them, from the first on, that is left out of the averages.
    sampler
        Default: ``NPTSampler()``, at no pressure.
    seed
        Of velocities and thermostat.
    checkpoint
        File that is written every 100 steps. The same call goes on from there, to the bit as if it had not been interrupted.

    Returns
    -------
    list of Rung
        In the order of ``temperatures``.

    Raises
    ------
    InputError
        If there is no temperature, one occurs twice in a row, the numbers are impossible, or the system blows up.
    OtherSegmentError
        If the checkpoint is of another run.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> cold, hot = heat(EMT(), bulk("Cu", cubic=True) * 2, [100.0, 600.0], steps=60)
    >>> cold.energy < hot.energy
    True
    """
    wanted = [float(temperature) for temperature in temperatures]
    if not wanted or steps < 2 * _INTERVAL or not 0.0 <= settle < 1.0:
        raise InputError(
            f"heating needs a temperature, {2 * _INTERVAL} or more steps at each and a share below 1 to settle, got "
            f"{len(wanted)} temperatures, {steps} steps, settle = {settle}"
        )
    state = MDState.initial(atoms, wanted[0], seed)
    result = md_segment(
        calculator,
        state,
        schedule=Schedule([Stage("hold", temperature, steps=steps) for temperature in wanted]),
        sampler=NPTSampler() if sampler is None else sampler,
        files=SegmentFiles(checkpoint=None if checkpoint is None else Checkpoint(checkpoint)),
        check_interval=_INTERVAL,
    )
    if result.reason != "schedule_end":
        raise InputError(f"the run ended before its schedule did: {result.detail or result.reason}")
    mass = float(atoms.get_masses().sum()) / len(atoms)
    return [
        _rung([row for row in result.log if n + settle * steps < row["step"] <= n + steps], target, len(atoms), mass)
        for n, target in zip(range(0, steps * len(wanted), steps), wanted, strict=True)
    ]


def _rung(rows: Sequence[dict[str, float]], target: float, n_atoms: int, mass: float) -> Rung:
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    volume = means["volume"] / n_atoms
    return Rung(
        target=target,
        temperature=means["temperature"],
        energy=means["potential_energy"] / n_atoms,
        volume=volume,
        density=_GRAMS_PER_CM3 * mass / volume,
        pressure=means["pressure"],
    )
