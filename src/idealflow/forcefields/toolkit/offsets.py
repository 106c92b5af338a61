"""Energies mended in closed form, at the cost of one prediction of some structures.

Steps of Adam move all energies of a species together by many meV per atom while forces hardly notice. One constant for each
species takes back most of it (:func:`species_offsets`); a small change of whatever the energy is linear in, such as the last
layer of a network, takes back what differs between structures, too (:func:`least_change`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import InputError

__all__ = ["least_change", "species_fractions", "species_offsets"]

_ROUNDING = 1e-12
_DAMPING = 1e-3  # of the mean square of a fraction; it holds what compositions that hardly differ do not determine


def species_fractions(dataset: Sequence[Atoms], species: Sequence[str]) -> NDArray[np.float64]:
    """Fraction of the atoms of each structure that are of each species, (n, n_species).

    Examples
    --------
    >>> species_fractions([Atoms("Cu"), Atoms("CuNi3")], ["Ni", "Cu"]).tolist()
    [[0.0, 1.0], [0.75, 0.25]]
    """
    numbers = np.array([atomic_numbers[symbol] for symbol in species])
    return np.array([(atoms.numbers[:, None] == numbers).mean(axis=0) for atoms in dataset]).reshape(-1, len(numbers))


def species_offsets(fractions: ArrayLike, residuals: ArrayLike) -> NDArray[np.float64]:
    """Energy to add to every atom of each species, eV, so that energies per atom come closest to their labels.

    Least squares with a little damping: species that never occur, and differences between species whose fractions hardly
    vary, get no offset of their own.

    Parameters
    ----------
    fractions : (n, n_species)
        As :func:`species_fractions` gives them.
    residuals : (n,)
        Label minus prediction of each structure, eV/atom.

    Returns
    -------
    (n_species,), eV

    Raises
    ------
    InputError
        If a residual is not finite, or the shapes do not belong together.

    Examples
    --------
    >>> species_offsets([[1.0, 0.0], [0.5, 0.5]], [0.2, 0.1]).round(2).tolist()
    [0.2, 0.0]
    >>> species_offsets([[0.75, 0.25], [0.75, 0.25]], [0.1, 0.3]).round(2).tolist()  # the mean residual, by shares
    [0.24, 0.08]
    """
    x, y = _checked(fractions, residuals)
    normal = x.T @ x
    damping = _DAMPING * max(len(y), 1) * np.eye(x.shape[1])
    found: NDArray[np.float64] = np.asarray(np.linalg.solve(normal + damping, x.T @ y))
    return found


def least_change(inputs: ArrayLike, residuals: ArrayLike, damping: float) -> NDArray[np.float64]:
    """Smallest change of linear weights that brings energies per atom close to their labels.

    It minimises ‖residuals − inputs · change‖² + λ ‖change‖², where λ is ``damping`` times the mean square length of a row.

    Parameters
    ----------
    inputs : (n, m)
        Derivative of the energy per atom of each structure in each weight.
    residuals : (n,)
        Label minus prediction of each structure, eV/atom.
    damping
        0 takes back every residual that can be; 1 and more hardly any.

    Returns
    -------
    (m,)

    Raises
    ------
    InputError
        If a residual is not finite, or the shapes do not belong together.

    Examples
    --------
    Of two weights that explain an energy alike, both take half of it:

    >>> least_change([[1.0, 1.0, 0.0]], [0.2], damping=0.0).round(2).tolist()
    [0.1, 0.1, 0.0]
    """
    x, y = _checked(inputs, residuals)
    products = x @ x.T
    ridge = max(damping, _ROUNDING) * float(np.trace(products)) / max(len(y), 1) + np.finfo(float).tiny
    found: NDArray[np.float64] = x.T @ np.linalg.solve(products + ridge * np.eye(len(y)), y)
    return found


def _checked(inputs: ArrayLike, residuals: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(inputs, dtype=float), np.asarray(residuals, dtype=float)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise InputError(
            f"inputs have shape (n, m) and residuals (n,), got {x.shape} and {y.shape}; one row a structure"
        )
    if not np.isfinite(y).all():
        bad = int(np.flatnonzero(~np.isfinite(y))[0])
        raise InputError(f"residuals must be finite, that of structure {bad} is {y[bad]}; discard the training")
    return x, y
