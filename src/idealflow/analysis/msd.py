"""Mean squared displacement and diffusion."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["diffusion_coefficient", "msd", "unwrap"]


def unwrap(positions: ArrayLike, cells: ArrayLike, pbc: ArrayLike = (True, True, True)) -> NDArray[np.float64]:
    """Make a trajectory continuous where atoms were moved back into the cell: each moves the shortest way to the next frame.

    This is right as long as no atom moves half a cell between two frames. Trajectories of this package need it not.

    Parameters
    ----------
    positions : (n_frames, n_atoms, 3), Å
    cells : (3, 3) or (n_frames, 3, 3), Å
        One cell, or one per frame.
    pbc : (3,) bool
        Directions in which the cell repeats.

    Returns
    -------
    (n_frames, n_atoms, 3) array, Å
        Its first frame is the given one.

    Raises
    ------
    InputError
        If a cell spans no volume, or positions have another shape or are not finite.

    Examples
    --------
    An atom leaves a cell of 10 Å on one side and comes in on the other:

    >>> import numpy as np
    >>> wrapped = [[[9.0, 0.0, 0.0]], [[9.9, 0.0, 0.0]], [[0.5, 0.0, 0.0]]]
    >>> unwrap(wrapped, 10 * np.eye(3))[:, 0, 0]
    array([ 9. ,  9.9, 10.5])
    """
    wrapped = _frames(positions)
    lattice = np.broadcast_to(np.asarray(cells, dtype=np.float64), (len(wrapped), 3, 3))
    if not (np.abs(np.linalg.det(lattice)) > 1e-12).all():
        raise InputError("unwrapping needs cells that span a volume; give non-periodic directions any length")
    scaled = np.linalg.solve(lattice.transpose(0, 2, 1), wrapped.transpose(0, 2, 1)).transpose(0, 2, 1)
    jumps = np.rint(np.diff(scaled, axis=0)) * np.asarray(pbc, dtype=bool)
    scaled[1:] -= np.cumsum(jumps, axis=0)
    unwrapped: NDArray[np.float64] = scaled @ lattice
    unwrapped[0] = wrapped[0]
    return unwrapped


def msd(
    positions: ArrayLike,
    *,
    origins: Literal["first", "all"] = "first",
    atoms: ArrayLike | None = None,
    masses: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Average the squared displacement of atoms, for each time between two frames.

    Parameters
    ----------
    positions : (n_frames, n_atoms, 3), Å
        Unwrapped, equally spaced in time.
    origins
        ``"first"``: from the first frame, which shows a process in time (a melt setting in). ``"all"``: averaged over
        all starting frames, which is the estimate for equilibrium; computed by Fourier transform in
        O(n_frames log n_frames).
    atoms
        Indices or mask of the atoms to average over; None: all.
    masses : (n_atoms,)
        If given, the drift of the centre of mass of all atoms is taken out first.

    Returns
    -------
    (n_frames,) array, Å²
        Entry n belongs to frames n apart; entry 0 is 0.

    Raises
    ------
    InputError
        If positions or masses have another shape or are not finite, or no atom is chosen.

    Examples
    --------
    An atom that moves by 1 Å a frame:

    >>> positions = [[[0.0, 0, 0]], [[1.0, 0, 0]], [[2.0, 0, 0]]]
    >>> msd(positions)
    array([0., 1., 4.])
    """
    frames = _frames(positions)
    if masses is not None:
        weights = np.asarray(masses, dtype=np.float64)
        if weights.shape != frames.shape[1:2]:
            raise InputError(f"masses must have one entry an atom, {frames.shape[1]}, got shape {weights.shape}")
        centre = np.einsum("tax,a->tx", frames, weights / weights.sum())
        frames = frames - centre[:, None, :]
    if atoms is not None:
        chosen = np.arange(frames.shape[1])[np.asarray(atoms) if np.size(atoms) else slice(0)]
        if len(chosen) == 0:
            raise InputError("`atoms` selects no atom; give indices or a mask with at least one")
        frames = frames[:, chosen]
    frames = frames - frames[0]  # displacements are small numbers: the transform keeps their digits
    if origins == "first":
        return np.asarray((frames**2).sum(axis=2).mean(axis=1))
    if origins != "all":
        raise InputError(f"`origins` is 'first' or 'all', got {origins!r}")
    n_frames = len(frames)
    squares = (frames**2).sum(axis=(1, 2))
    series = frames.reshape(n_frames, -1)
    spectrum = np.zeros(n_frames + 1)
    for start in range(0, series.shape[1], 3000):  # memory stays bounded for many atoms
        spectrum += (np.abs(np.fft.rfft(series[:, start : start + 3000], n=2 * n_frames, axis=0)) ** 2).sum(axis=1)
    correlation = np.fft.irfft(spectrum, n=2 * n_frames)[:n_frames]
    # Σ_t |r(t+m)|² + |r(t)|² over the n − m pairs of lag m
    from_start = np.concatenate([[0.0], np.cumsum(squares)])
    lags = np.arange(n_frames)
    both = (from_start[n_frames] - from_start[lags]) + from_start[n_frames - lags]
    result = (both - 2.0 * correlation) / ((n_frames - lags) * frames.shape[1])
    result[0] = 0.0
    return np.asarray(np.maximum(result, 0.0))


def diffusion_coefficient(time: ArrayLike, msd_values: ArrayLike, fit: tuple[float, float] = (0.2, 0.8)) -> float:
    """Fit a line to a mean squared displacement; a sixth of its slope is the diffusion coefficient (Einstein's relation).

    Parameters
    ----------
    time : (n,), fs
        Times between two frames.
    msd_values : (n,), Å²
        Mean squared displacement at each of them, as :func:`msd` gives it.
    fit
        Fractions of the time span between which the line is fitted.

    Returns
    -------
    float
        cm²/s (1 Å²/fs = 0.1 cm²/s).

    Raises
    ------
    InputError
        If the lists differ in length, or fewer than two points lie where the line is fitted.

    Examples
    --------
    >>> time = [0, 100, 200, 300]
    >>> round(diffusion_coefficient(time, [0.0, 6.0, 12.0, 18.0], fit=(0, 1)), 6)
    0.001
    """
    t, y = np.asarray(time, dtype=np.float64), np.asarray(msd_values, dtype=np.float64)
    if t.shape != y.shape or t.ndim != 1:
        raise InputError(f"time and msd must be of one length, got shapes {t.shape} and {y.shape}")
    low, high = (t[0] + f * (t[-1] - t[0]) for f in fit) if len(t) else (0.0, 0.0)
    inside = (t >= low) & (t <= high)
    if inside.sum() < 2:
        raise InputError(f"a line needs two points, got {int(inside.sum())} within {fit}; widen `fit`")
    slope = np.polyfit(t[inside], y[inside], 1)[0]
    return float(slope / 6.0 * 0.1)


def _frames(positions: ArrayLike) -> NDArray[np.float64]:
    frames = np.asarray(positions, dtype=np.float64)
    if frames.ndim != 3 or frames.shape[2] != 3 or frames.shape[0] == 0 or frames.shape[1] == 0:
        raise InputError(f"positions must have shape (n_frames, n_atoms, 3) with none empty, got {frames.shape}")
    if not np.isfinite(frames).all():
        raise InputError("positions must be finite; leave out what comes after a blow-up")
    return frames
