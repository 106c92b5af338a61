"""Radial distribution function, linear in the number of atoms, for any cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import NDArray

from idealflow.errors import InputError

__all__ = ["RDF", "rdf"]

_CHUNK = 32_768  # centres at a time: bounds the memory of the pair list


@dataclass(frozen=True, eq=False)
class RDF:
    """A radial distribution function, averaged over frames.

    Attributes
    ----------
    r : (n_bins,), Å
        Middles of the bins.
    g : (n_bins,)
        Density of neighbours at that distance over the mean density; 1 in an ideal gas.
    coordination : (n_bins,)
        Mean number of neighbours up to the outer edge of each bin.

    Examples
    --------
    >>> from ase.build import bulk
    >>> curve = rdf(bulk("Cu", a=3.6), r_max=3.0, n_bins=30)
    >>> curve.coordination[-1]
    np.float64(12.0)
    """

    r: NDArray[np.float64]
    g: NDArray[np.float64]
    coordination: NDArray[np.float64]


def rdf(
    frames: Atoms | Iterable[Atoms],
    r_max: float,
    n_bins: int = 200,
    pair: tuple[str, str] | None = None,
    volume: float | None = None,
) -> RDF:
    """Compute a radial distribution function: how dense neighbours are at each distance, over the mean density.

    g(r) = V / (N_a N_b) · n_ab(r) / (4π/3 (r₊³ − r₋³)) per frame, then the mean over frames; all periodic images
    within ``r_max`` count, so ``r_max`` may exceed the cell.

    Parameters
    ----------
    frames
        One frame or several.
    r_max
        Largest distance, Å.
    n_bins
        Number of equal bins up to it.
    pair
        Symbols (a, b): distances from a to b; None: all atoms.
    volume
        Å³; needed where the cell spans none.

    Raises
    ------
    InputError
        If there is no frame, an element is not in it, or there is no volume.

    Examples
    --------
    >>> from ase.build import bulk
    >>> curve = rdf(bulk("Cu", a=3.6), r_max=3.0, n_bins=30)
    >>> round(float(curve.r[curve.g.argmax()]), 2)
    2.55
    """
    if not r_max > 0.0 or n_bins < 1:
        raise InputError(f"`r_max` must be positive and `n_bins` at least 1, got {r_max} and {n_bins}")
    edges = np.linspace(0.0, r_max, n_bins + 1)
    shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    g, neighbours, n_frames = np.zeros(n_bins), np.zeros(n_bins), 0
    for atoms in [frames] if isinstance(frames, Atoms) else frames:
        first, second = _selected(atoms, pair)
        box = float(atoms.cell.volume) if volume is None else volume
        if not box > 0.0:
            raise InputError("the density of a frame needs a volume, got a cell without; pass `volume`")
        counts = _histogram(atoms, first, second, edges)
        g += counts * box / (first.sum() * second.sum() * shells)
        neighbours += np.cumsum(counts) / first.sum()
        n_frames += 1
    if n_frames == 0:
        raise InputError("an RDF needs at least one frame, got none")
    return RDF(0.5 * (edges[1:] + edges[:-1]), g / n_frames, neighbours / n_frames)


def _selected(atoms: Atoms, pair: tuple[str, str] | None) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    if pair is None:
        everything = np.ones(len(atoms), dtype=bool)
        return everything, everything
    masks = []
    for symbol in pair:
        mask = atoms.numbers == atomic_numbers.get(symbol, -1)
        if not mask.any():
            raise InputError(f"the RDF's pair {pair} names {symbol!r}, which the frame does not hold; change `pair`")
        masks.append(mask)
    return masks[0], masks[1]


def _histogram(
    atoms: Atoms, first: NDArray[np.bool_], second: NDArray[np.bool_], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    from idealflow.core.descriptors.neighbours import NeighbourGrid  # with numba, which takes a second to import

    counts = np.zeros(len(edges) - 1)
    centres, grid = np.flatnonzero(first), NeighbourGrid(atoms.positions, atoms.cell.array, atoms.pbc, float(edges[-1]))
    for start in range(0, len(centres), _CHUNK):
        _, j, _, vec = grid.pairs(centres[start : start + _CHUNK])
        distances = np.sqrt((vec[second[j]] ** 2).sum(axis=1))
        counts += np.histogram(distances, bins=edges)[0]
    return counts
