"""A melting point by coexistence: crystal and liquid in one cell, and which of the two grows at which temperature.

A cell that is long in one direction is half molten: two flat boundaries part the phases, so that neither has to nucleate. At each
temperature it is held without stress. Which phase grows is told by the drift of its potential energy: down where the liquid
freezes, up where the crystal melts. The melting point is where a line through the drifts is nought.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from idealflow.workflow.frames.build import build_structure
from workbench.keeping import keep

Rows = list[dict[str, Any]]
TIMESTEP = 3.0  # fs: a thirtieth of the shortest period of lithium
FRICTION = 0.01  # 1/fs
BLOCK = 50  # steps that a row is the mean of
PRESSURE_INTERVAL = 10  # steps
CELL_TIME = 300.0  # fs
STIFFNESS = 0.07  # eV/Å³, some 11 GPa; it only scales the cell's pace
SETTLE = 0.9  # ps that are left out: the start has another temperature
ORDERED = 0.3  # squared structure factor of a layer, from which on it is crystal; 1 at rest, some 0.03 in the liquid


class MeltingPoint(NamedTuple):
    """Where drifts are nought, K, its standard error, and the slope, meV/atom/ps/K."""

    temperature: float
    uncertainty: float
    slope: float


def half_molten(calculator: Any, crystal: Atoms, temperature: float, *, hot: float, steps: int, seed: int) -> Atoms:
    """A cell whose upper half, along its third edge, is liquid.

    Parameters
    ----------
    calculator
        What moves the atoms.
    crystal
        The whole cell as a crystal.
    temperature, hot
        Of the crystal, and of the half that is melted while the other is held, K.
    steps
        Of the melting; half as many bring both to ``temperature``, the lower half still held.
    seed
        Of velocities and thermostat.

    Returns
    -------
    Atoms
        With velocities, all atoms free.
    """
    atoms = crystal.copy()
    rng = np.random.default_rng([seed, 0])
    atoms.set_constraint(FixAtoms(mask=atoms.get_scaled_positions()[:, 2] < 0.5))
    atoms.calc = calculator
    for target, many in ((hot, steps), (temperature, steps // 2)):
        thermalize_momenta(atoms, temperature_K=target, rng=rng)
        _langevin(atoms, target, rng, 4 * FRICTION).run(many)
    atoms.set_constraint()
    thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    atoms.calc = None
    return atoms


def held(calculator: Any, start: Atoms, repeat: Sequence[int], temperature: float, steps: int, seed: int) -> Rows:
    """A run at one temperature without stress, a row for every block of steps, until one of the phases is gone.

    The cell keeps its right angles: the two short edges follow the mean of their stresses, the long one its own.

    Parameters
    ----------
    calculator, start
        What moves the atoms, and where they start; velocities are drawn.
    repeat
        Cubic cells of bcc along the edges.
    temperature, steps, seed
        K; at most so many; of velocities and thermostat.

    Returns
    -------
    list of dict
        ``time`` at a block's end, ps; its mean ``energy``, meV/atom, and ``temperature``, K; the ``length`` of the long edge, Å,
        and the share of layers that are ``crystal`` at the block's end.
    """
    atoms, rng = start.copy(), np.random.default_rng([seed, 1])
    atoms.calc = calculator
    thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    dynamics = _langevin(atoms, temperature, rng, FRICTION)
    rows: Rows = []
    for _ in range(steps // BLOCK):
        seen = []
        for _ in range(BLOCK // PRESSURE_INTERVAL):
            dynamics.run(PRESSURE_INTERVAL)
            seen.append((atoms.get_potential_energy(), atoms.get_temperature()))
            _yield_to_stress(atoms)
        energy, kelvin = np.mean(seen, axis=0)
        rows.append(
            {
                "time": (len(rows) + 1) * BLOCK * TIMESTEP / 1000.0,
                "energy": 1e3 * energy / len(atoms),
                "temperature": kelvin,
                "length": float(atoms.cell.lengths()[2]),
                "crystal": crystal_share(atoms, repeat),
            }
        )
        if rows[-1]["crystal"] in (0.0, 1.0):
            break
    return rows


def crystal_share(atoms: Atoms, repeat: Sequence[int]) -> float:
    """Share of layers, each as high as a cubic cell, in which atoms stand in the planes {110} of the cell's own bcc.

    Telling each atom's crystal apart fails near the melting point, where few atoms have fourteen neighbours in place at a time. A
    layer's structure factor knows the orientation that the crystal has from its start.
    """
    scaled = atoms.get_scaled_positions()
    layer = (scaled[:, 2] * repeat[2]).astype(int) % repeat[2]
    planes = np.array([[1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [0, 1, 1], [0, 1, -1]])
    waves = np.exp(2j * np.pi * (scaled * np.asarray(repeat)) @ planes.T)
    ordered = [
        len(mine) > 0 and float((np.abs(mine.mean(axis=0)) ** 2).mean()) > ORDERED
        for mine in (waves[layer == number] for number in range(repeat[2]))
    ]
    return float(np.mean(ordered))


def drift(rows: Sequence[Mapping[str, float]]) -> float | None:
    """How fast the energy changes after the start has settled, meV/atom/ps: the slope of a line through it.

    None where one of the phases was gone before there was anything to fit.
    """
    rest = [row for row in rows if row["time"] > SETTLE]
    if len(rest) < 4:
        return None
    return float(np.polyfit([row["time"] for row in rest], [row["energy"] for row in rest], 1)[0])


def melting_point(temperatures: Sequence[float], drifts: Sequence[float]) -> MeltingPoint:
    """Where a line through the drifts is nought; its uncertainty is from their scatter about the line.

    Raises
    ------
    ValueError
        If there are fewer than four drifts, or they do not rise with the temperature.
    """
    if len(drifts) < 4:
        raise ValueError(f"a melting point with an uncertainty needs four runs or more, got {len(drifts)}")
    middle = float(np.mean(temperatures))
    apart = np.asarray(temperatures, dtype=float) - middle
    (slope, level), covariance = np.polyfit(apart, drifts, 1, cov="unscaled")
    if slope <= 0.0:
        raise ValueError(f"the drifts fall with the temperature ({slope:.2g} meV/atom/ps/K): the runs are too short")
    residuals = np.asarray(drifts) - (slope * apart + level)
    covariance = covariance * float(residuals @ residuals) / (len(drifts) - 2)
    away = -level / slope
    gradient = np.array([-away, -1.0]) / slope  # of the root by slope and level
    return MeltingPoint(middle + away, float(np.sqrt(gradient @ covariance @ gradient)), float(slope))


def coexistence(
    calculator: Any,
    by: str,
    crystal: Mapping[str, Any],
    repeats: Sequence[Sequence[int]],
    temperatures: Sequence[float],
    steps: int,
    folder: Path,
) -> dict[str, Rows]:
    """Drifts of half-molten cells of several sizes, and melting points.

    Parameters
    ----------
    calculator, by
        What moves the atoms, and what it is called.
    crystal
        Settings of a cubic cell of bcc (:func:`~idealflow.workflow.frames.build.build_structure`).
    repeats
        Of that cell, for each size; the third is the largest.
    temperatures
        K, held by each cell.
    steps
        At each temperature, at most.
    folder
        Where finished runs are kept, so that the same call goes on.

    Returns
    -------
    dict
        ``coexistence``, a row for every run, and ``melting_points``, one for every size: where a line through the drifts is
        nought (None where less than four could be fitted), and the hottest run that froze as a whole and the coldest that melted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    runs: Rows = []
    points: Rows = []
    for repeat in repeats:
        whole = build_structure({**crystal, "repeat": list(repeat)})
        start: Atoms | None = None
        mine: Rows = []
        for seed, temperature in enumerate(temperatures):
            file = folder / f"{by}-{len(whole)}-{temperature:.0f}.json"
            if not file.exists():
                if start is None:
                    start = half_molten(calculator, whole, float(np.mean(temperatures)), hot=2000.0, steps=300, seed=0)
                keep(file, rows=held(calculator, start, repeat, temperature, steps, seed))
            mine.append(_summary(json.loads(file.read_text())["rows"], by, len(whole), temperature))
            print(mine[-1], flush=True)
        runs += mine
        fitted = [row for row in mine if row["drift"] is not None]
        ends = {
            "frozen": max((row["target"] for row in mine if row["crystal_last"] == 1.0), default=None),
            "molten": min((row["target"] for row in mine if row["crystal_last"] == 0.0), default=None),
        }
        about = {"by": by, "n_atoms": len(whole), "n_runs": len(fitted), **ends}
        if len(fitted) >= 4:
            found = melting_point([row["target"] for row in fitted], [row["drift"] for row in fitted])
            points.append(about | found._asdict())
        else:  # a phase was gone too soon to fit a line: only the ends of the runs tell
            points.append(about | dict.fromkeys(MeltingPoint._fields))
        print(points[-1], flush=True)
    return {"coexistence": runs, "melting_points": points}


def _summary(rows: Rows, by: str, n_atoms: int, target: float) -> dict[str, Any]:
    return {
        "by": by,
        "n_atoms": n_atoms,
        "target": target,
        "temperature": float(np.mean([row["temperature"] for row in rows[len(rows) // 2 :]])),
        "time": rows[-1]["time"],
        "drift": drift(rows),
        "crystal_first": rows[0]["crystal"],
        "crystal_last": rows[-1]["crystal"],
    }


def _langevin(atoms: Atoms, temperature: float, rng: np.random.Generator, friction: float) -> Langevin:
    return Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=temperature, friction=friction / units.fs, rng=rng, fixcm=False
    )


def _yield_to_stress(atoms: Atoms) -> None:
    xx, yy, zz = atoms.get_stress(include_ideal_gas=True)[:3]
    share = PRESSURE_INTERVAL * TIMESTEP / CELL_TIME / (3.0 * STIFFNESS)
    across, along = np.clip(1.0 - share * np.array([0.5 * (xx + yy), zz]), 0.99, 1.01)
    atoms.set_cell(atoms.cell.array * np.array([across, across, along])[:, None], scale_atoms=True)
