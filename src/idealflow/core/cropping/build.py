"""From the atoms of a candidate to a crop: its uncertainties, errors and score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.cropping.assembly import Assembled
from idealflow.core.cropping.contacts import composition_error, smallest_distance
from idealflow.core.cropping.crop import Crop
from idealflow.core.cropping.rules import CropWeights
from idealflow.core.cropping.surroundings import Surroundings
from idealflow.core.protocols import Uncertainty

__all__ = ["FrameValues", "build"]

#: a vacuum edge does not move: with each beyond the first, relaxation leaves some half more of a shell's excess (measured on a
#: platinum octahedron: a third of its logarithm with one such edge, a half with two, three fifths with three)
STIFFER = 0.5
#: relaxation mends little of a cell across an interface, whose ends are ordered: it must begin better than others, by this factor
RIGID = 2.0

Floats = NDArray[np.float64]


class FrameValues:
    """Uncertainties of atoms in the frame, each computed once and only when it is asked for.

    Parameters
    ----------
    u
        The uncertainty.
    atoms
        The frame.

    Examples
    --------
    >>> from ase.build import bulk
    >>> class Index:
    ...     cutoff = 4.0
    ...     def __call__(self, atoms, indices=None):
    ...         return np.arange(len(atoms), dtype=float)[indices]
    >>> values = FrameValues(Index(), bulk("Cu", cubic=True))
    >>> values(np.array([2, 0, 2])).tolist()
    [2.0, 0.0, 2.0]
    """

    def __init__(self, u: Uncertainty, atoms: Atoms) -> None:
        self._u, self._atoms = u, atoms
        self._known: dict[int, float] = {}

    def __call__(self, indices: NDArray[np.int64]) -> Floats:
        """Return the values (n,) in the frame of the given atoms."""
        new = np.array(sorted({int(i) for i in indices} - set(self._known)), dtype=np.int64)
        if new.size:
            self._known.update(zip(new.tolist(), self._u(self._atoms, new).tolist(), strict=True))
        return np.array([self._known[int(i)] for i in indices])


def build(
    u: Uncertainty, sur: Surroundings, candidate: Assembled, frame_values: FrameValues, weights: CropWeights
) -> Crop:
    """Make a crop of an assembled candidate and score it.

    Parameters
    ----------
    u
        The uncertainty, evaluated once on the new cell.
    sur
        What the candidate was cut from.
    candidate
        The box and its atoms. In the crop the box's corner is the origin, and hydrogen caps come last.
    frame_values
        The uncertainties of the atoms in the frame.
    weights
        What counts in the score beside the shell's uncertainty. Species never seen do not count: they are as unknown in
        every candidate.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.contacts import select
    >>> from idealflow.core.cropping.proposals import Box
    >>> from idealflow.core.cropping.surroundings import survey
    >>> class Known:
    ...     cutoff = 4.0
    ...     def __call__(self, atoms, indices=None):
    ...         return np.ones(len(atoms) if indices is None else len(indices))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> sur = survey(frame, centre=0, cutoff=4.0, radius=12.0)
    >>> box = Box(np.eye(3) * 10.83, np.full(3, -5.0), ("periodic",) * 3, "cartesian")
    >>> made = Assembled(box, select(sur, box), notes={})
    >>> crop = build(Known(), sur, made, FrameValues(Known(), frame), CropWeights())
    >>> len(crop.atoms), int(crop.core.sum()), round(crop.volume_error, 3)
    (108, 19, 0.0)
    """
    box, sel, caps = candidate.box, candidate.sel, candidate.caps
    numbers = sur.numbers[sel.images]
    atoms = Atoms(numbers=numbers, positions=sel.vectors - box.origin, cell=box.cell, pbc=True)
    parents, core = sur.indices[sel.images], sel.core
    if caps is not None and len(caps):
        atoms += Atoms(f"H{len(caps)}", positions=caps - box.origin)
        parents = np.concatenate([parents, np.full(len(caps), -1)])
        core = np.concatenate([core, np.zeros(len(caps), dtype=bool)])
    values = np.asarray(u(atoms), dtype=np.float64)
    in_frame = np.ones(len(atoms))
    in_frame[parents >= 0] = np.maximum(1.0, frame_values(parents[parents >= 0]))
    error = composition_error(sel.images, sur)
    crop = Crop(
        atoms=atoms,
        core=core,
        parent_indices=parents,
        centre=int(np.flatnonzero(sel.images == 0)[0]),
        in_frame=in_frame,
        values=values,
        composition_error=error,
        min_contact=smallest_distance(atoms),
        cell_kind=box.cell_kind,
        axes=box.axes,
        limits=sur.limits,
        score=0.0,
        notes=candidate.notes,
        expected_volume=None if sur.matter is None or "vacuum" in box.axes else len(numbers) / sur.matter,
    )
    unknown = log_excess(crop, crop.shell if crop.shell.any() else np.ones(len(atoms), dtype=bool))
    if "vacuum" in box.axes:
        unknown *= 1.0 + STIFFER * (box.axes.count("vacuum") - 1)
        unknown += log_excess(crop, crop.core)
    if box.cell_kind == "interface":
        unknown *= RIGID
    # beside empty space the mean density says little: the price of an atom is then that of a close-packed crystal
    dense = sur.density if sur.matter is not None else max(sur.density, np.sqrt(2.0) / sur.nearest**3)
    smallest = dense * (2.0 * sur.cutoff) ** 3
    score = unknown + weights.composition_weight * error + weights.volume_weight * abs(crop.volume_error)
    score += weights.size_weight * max(0.0, len(atoms) / smallest - 1.0)
    return replace(crop, score=float(score))


def log_excess(crop: Crop, chosen: NDArray[np.bool_]) -> float:
    """Mean over the chosen atoms (n,) of log max(1, uncertainty / level); species never seen do not count."""
    chosen = chosen & np.isfinite(crop.values)
    ratios = crop.values[chosen] / crop.in_frame[chosen]
    return float(np.mean(np.log(np.maximum(1.0, ratios)))) if len(ratios) else 0.0
