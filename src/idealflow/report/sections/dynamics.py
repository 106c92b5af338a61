"""Dynamics: temperature, energy, density, mean squared displacement and radial distribution of the MD so far."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from numpy.typing import NDArray

from idealflow.analysis import diffusion_coefficient, msd, rdf
from idealflow.errors import ArtifactError
from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import Block, Section, figure, line, missing
from idealflow.report.sections.learning import CYCLE

__all__ = ["dynamics", "thinned_frames"]

_TIME = "time (ps)"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_RDF_FRAMES = 8
_RDF_R_MAX = 8.0
_MOST_PAIRS = 6  # pairs of species drawn apart; with more of them the curves cannot be told from each other
_MOST_ATOM_FRAMES = 4_000_000  # atoms × frames of the trajectory that are looked at
_GRAM_PER_CM3 = 1.66053906660  # of one u/Å³


def dynamics(campaign: Campaign) -> Section:
    """What the molecular dynamics did: temperature, energy, density, and how atoms moved and stand to each other.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> [block["key"] for block in dynamics(sample_campaign()).blocks]
    ['temperature', 'energy', 'density', 'msd', 'rdf']
    """
    section = Section(
        "dynamics", "Dynamics", "The molecular dynamics on the learned force field, on the frames that it stored."
    )
    log = campaign.log()
    section.add(_temperature(log), _energy(log, campaign))
    try:
        frames = thinned_frames(campaign)
    except ArtifactError as error:
        section.add(
            missing("Density, displacement, radial distribution", f"The stored trajectory cannot be read: {error}.")
        )
        return section
    if len(frames) < 2:
        why = "Fewer than two frames are stored so far."
        section.add(*(missing(title, why) for title in ("Density", "Mean squared displacement", "Radial distribution")))
        return section
    section.add(_density(frames), _msd(frames), _rdf(frames))
    return section


def thinned_frames(campaign: Campaign) -> list[Atoms]:
    """Read the stored frames of walker 0 in order, thinned evenly so that figures stay affordable for large systems.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> len(thinned_frames(sample_campaign()))
    13
    """
    stored, state = campaign.trajectory(0), campaign.state()
    stride = 1 if state is None else max(1, -(-len(stored) * state.n_atoms // _MOST_ATOM_FRAMES))
    return stored[::stride]


def _temperature(log: pd.DataFrame) -> Block:
    title = "Temperature"
    if log.empty:
        return missing(title, "No MD segment is stored yet.")
    traces: list[dict[str, Any]] = []
    for walker in sorted(set(log["walker"].astype(int))):
        rows = log[log["walker"] == walker]
        of = "" if log["walker"].nunique() == 1 else f", walker {walker}"
        if np.isfinite(rows["temperature"]).any():  # Monte Carlo has no velocities
            traces.append(line(rows["step"], rows["temperature"], f"instantaneous{of}", CYCLE[walker % len(CYCLE)]))
    rows = log[log["walker"] == log["walker"].min()]
    traces.append(line(rows["step"], rows["target"], "target", "@orange", line={"dash": "dash"}))
    hint = "Of the atoms at the logged steps, and the temperature that the schedule asks for."
    return figure("temperature", title, hint, traces, "MD step", "temperature (K)", yaxis={"rangemode": "tozero"})


def _energy(log: pd.DataFrame, campaign: Campaign) -> Block:
    title = "Potential energy"
    state = campaign.state()
    if log.empty or state is None:
        return missing(title, "No MD segment is stored yet.")
    traces = []
    for walker in sorted(set(log["walker"].astype(int))):
        rows = log[log["walker"] == walker]
        name = "potential energy" if log["walker"].nunique() == 1 else f"walker {walker}"
        energy = rows["potential_energy"] / state.n_atoms
        traces.append(line(rows["step"], energy, name, CYCLE[walker % len(CYCLE)]))
    hint = "Of the force field that moved the atoms, per atom. It may jump where an update changed the model."
    return figure("energy", title, hint, traces, "MD step", "energy (eV/atom)")


def _axis(frames: list[Atoms]) -> tuple[NDArray[np.float64], str]:
    """What frames are drawn along, and its name: time in ps, or the step where steps have no time (Monte Carlo)."""
    time = np.array([atoms.info["time_fs"] for atoms in frames], dtype=float)
    if np.isfinite(time).all():
        return time / 1000.0, _TIME
    return np.array([atoms.info["step"] for atoms in frames], dtype=float), "step"


def _density(frames: list[Atoms]) -> Block:
    title = "Density"
    if frames[0].cell.rank < 3 or not frames[0].pbc.all():
        why = "The structure is open in some direction, so it has no volume of its own and no density."
        return missing(title, why)
    along, axis = _axis(frames)
    density = [_GRAM_PER_CM3 * atoms.get_masses().sum() / atoms.cell.volume for atoms in frames]
    hint = "Mass over the volume of the cell; constant where the dynamics keeps the volume."
    return figure("density", title, hint, [line(along, density, "density", "@blue")], axis, "density (g/cm³)",
                  yaxis={"rangemode": "normal"} if np.ptp(density) > 1e-9 else {"rangemode": "tozero"})  # fmt: skip


def _msd(frames: list[Atoms]) -> Block:
    along, axis = _axis(frames)
    positions = np.array([atoms.positions for atoms in frames])
    symbols = np.array(frames[0].get_chemical_symbols())
    traces, found = [], []
    for number, species in enumerate(sorted(set(symbols))):
        values = msd(positions, atoms=symbols == species)
        traces.append(line(along - along[0], values, species, CYCLE[number % len(CYCLE)]))
        if len(along) >= 10 and axis == _TIME:
            found.append(f"{species} {_power(diffusion_coefficient(1000.0 * (along - along[0]), values))} cm²/s")
    hint = "Of walker 0, from its first frame. A crystal levels off, a liquid rises steadily."
    if found:
        hint += f" A sixth of the mean slope between a fifth and four fifths of the time: {', '.join(found)}."
    return figure("msd", "Mean squared displacement", hint, traces, axis, "mean squared displacement (Å²)",
                  yaxis={"rangemode": "tozero"})  # fmt: skip


def _power(value: float) -> str:
    """A number with two digits and its power of ten, as one writes it by hand."""
    digits, _, exponent = f"{value:.1e}".replace("-", "\N{MINUS SIGN}").partition("e")
    raised = str(int(exponent.replace("\N{MINUS SIGN}", "-"))).translate(_RAISED)
    return f"{digits} · 10{raised}"


def _rdf(frames: list[Atoms]) -> Block:
    n = min(_RDF_FRAMES, len(frames) // 2)
    parts = (("first frames", frames[1 : n + 1], "dash"), ("last frames", frames[-n:], "solid"))
    species = sorted(set(frames[0].get_chemical_symbols()))
    pairs: list[tuple[str, str] | None] = [None]
    if len(species) > 1 and len(species) * (len(species) + 1) // 2 <= _MOST_PAIRS:
        pairs = list(combinations_with_replacement(species, 2))
    open_ended = frames[0].cell.rank < 3 or not frames[0].pbc.all()
    traces = []
    for number, pair in enumerate(pairs):
        of = "" if pair is None else f"{pair[0]}–{pair[1]}, "
        for name, some, dash in parts:
            # without a volume of its own the figure counts neighbours, for which any volume will do
            curve = rdf(some, _RDF_R_MAX, pair=pair, volume=1.0 if open_ended else None)
            values = np.diff(curve.coordination, prepend=0.0) / (curve.r[1] - curve.r[0]) if open_ended else curve.g
            colour = CYCLE[number % len(CYCLE)] if pair or dash == "solid" else "@orange"
            traces.append(line(curve.r, values, of + name, colour, line={"dash": dash}))
    hint = f"Mean of {n} frames each. Sharp peaks: a crystal; one broad peak and waves: a liquid."
    if open_ended:
        what, label = "Neighbours at a distance", "neighbours per atom and Å"
        hint += " The structure is open in some direction and has no density, so neighbours are counted."
    else:
        what, label = "Radial distribution", "g(r)"
    return figure("rdf", what, hint, traces, "distance (Å)", label, yaxis={"rangemode": "tozero"})
