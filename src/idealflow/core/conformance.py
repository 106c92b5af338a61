"""Proof that an uncertainty keeps the conventions on which screening, cropping and relaxation rest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from idealflow.errors import ArtifactError, InputError

__all__ = ["AtomwiseUncertainty", "UncertaintyCheck", "check_uncertainty"]

Float = NDArray[np.float64]


class AtomwiseUncertainty(Protocol):
    """Any atom-wise, differentiable measure of novelty; 1 is its mean in distribution."""

    @property
    def cutoff(self) -> float:
        """How far an environment reaches, Å."""
        ...

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None) -> Float:
        """Values of all atoms, or of those at ``indices``."""
        ...

    def value_and_gradient(
        self, atoms: Atoms, weights: ArrayLike | None = None, reference: ArrayLike | None = None
    ) -> tuple[float, Float, Float]:
        """Objective, its gradient in positions, and in the cell at fixed Cartesian positions."""
        ...

    def save(self, path: str | Path) -> Path:
        """Write to one file."""
        ...

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote."""
        ...


@dataclass(frozen=True)
class UncertaintyCheck:
    """What :func:`check_uncertainty` measured, each the largest over the frames, relative to the largest component.

    Attributes
    ----------
    gradient_error, cell_error
        Gradient against central differences, in positions and in the cell.
    symmetry_error
        Change of values after reordering, rotating and translating.
    """

    gradient_error: float
    cell_error: float
    symmetry_error: float


def check_uncertainty(
    model: AtomwiseUncertainty,
    frames: Sequence[Atoms],
    *,
    displacement: float = 1e-4,
    tolerance: float = 1e-5,
    symmetry_tolerance: float = 1e-8,
    seed: int = 0,
) -> UncertaintyCheck:
    """Check a measure: values, objective, gradients, symmetries, locality, files and refusals.

    Parameters
    ----------
    model
        The measure, fitted.
    frames
        Structures out of equilibrium, of species the model has seen; periodic ones show more.
    displacement
        Step of central differences, Å. A descriptor with a hard cutoff jumps where a pair crosses it, so each error is the
        median over several atoms or cell components.
    tolerance, symmetry_tolerance
        Largest accepted errors, relative.
    seed
        Of weights, references, chosen atoms, rotations and orders.

    Raises
    ------
    AssertionError
        When a convention is broken; the message says which.
    """
    rng = np.random.default_rng(seed)
    gradient_error, cell_error, symmetry_error = 0.0, 0.0, 0.0
    for atoms in frames:
        _check_values(model, atoms, rng)
        weights, reference = rng.uniform(0.5, 1.5, len(atoms)), rng.uniform(0.3, 0.9, len(atoms)) * model(atoms)
        for arguments in ((None, None), (weights, None), (weights, reference)):
            in_positions, in_cell = _gradient_errors(model, atoms, arguments, displacement, rng)
            gradient_error, cell_error = max(gradient_error, in_positions), max(cell_error, in_cell)
        symmetry_error = max(symmetry_error, _symmetry_error(model, atoms, rng))
    _within(gradient_error, tolerance, "the gradient in positions is the slope of the objective")
    _within(cell_error, tolerance, "the gradient in the cell is the slope at fixed Cartesian positions")
    _within(symmetry_error, symmetry_tolerance, "values do not change with order, rotation or translation")
    _check_files(model, frames[0])
    _check_refusals(model, frames[0])
    return UncertaintyCheck(gradient_error, cell_error, symmetry_error)


def _require(true: bool, rule: str) -> None:
    if not true:
        raise AssertionError(f"broken: {rule}")


def _within(value: float, tolerance: float, rule: str) -> None:
    _require(value <= tolerance, f"{rule}; differs by {value:.3g}, accepted {tolerance:.3g}")


def _check_values(model: AtomwiseUncertainty, atoms: Atoms, rng: np.random.Generator) -> None:
    values = model(atoms)
    _require(values.shape == (len(atoms),), "one value per atom")
    _require(
        bool(np.isfinite(values).all() and (values >= 0.0).all()), "values of known species are finite, at least 0"
    )
    _require(np.array_equal(values, model(atoms)), "the same frame has the same values")
    some = rng.permutation(len(atoms))[: max(1, len(atoms) // 2)]
    _require(
        np.allclose(model(atoms, some), values[some], rtol=1e-9), "values of some atoms are those of the whole frame"
    )
    weights, reference = rng.uniform(0.0, 1.0, len(atoms)), rng.uniform(0.2, 1.0, len(atoms)) * values + 1e-3
    _require(
        bool(np.isclose(model.value_and_gradient(atoms, weights)[0], np.average(values, weights=weights), rtol=1e-9)),
        "without references the objective is the weighted mean",
    )
    hinge = np.log1p(np.maximum(0.0, values / reference - 1.0))
    _require(
        bool(
            np.isclose(
                model.value_and_gradient(atoms, weights, reference)[0], np.average(hinge, weights=weights), rtol=1e-9
            )
        ),
        "with references the objective is the weighted mean of log(1 + max(0, u / reference − 1))",
    )


def _gradient_errors(
    model: AtomwiseUncertainty,
    atoms: Atoms,
    arguments: tuple[Float | None, Float | None],
    displacement: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    _, in_positions, in_cell = model.value_and_gradient(atoms, *arguments)
    _require(
        in_positions.shape == (len(atoms), 3) and in_cell.shape == (3, 3), "gradients have shapes (n, 3) and (3, 3)"
    )

    def slope(moved: Callable[[float], Atoms], step: float) -> float:
        plus, minus = (model.value_and_gradient(moved(sign * step), *arguments)[0] for sign in (1.0, -1.0))
        return (plus - minus) / (2.0 * step)

    def shifted(index: int, axis: int) -> Callable[[float], Atoms]:
        def moved(step: float) -> Atoms:
            copied = atoms.copy()
            copied.positions[index, axis] += step
            return copied

        return moved

    def stretched(vector: int, axis: int) -> Callable[[float], Atoms]:
        def moved(step: float) -> Atoms:
            copied, cell = atoms.copy(), np.array(atoms.cell)
            cell[vector, axis] += step
            copied.set_cell(cell)
            return copied

        return moved

    largest = float(np.abs(in_positions).max())
    errors = [
        abs(slope(shifted(index, axis), displacement) - in_positions[index, axis])
        for index in rng.permutation(len(atoms))[:4].tolist()
        for axis in range(3)
    ]
    cell_errors = [0.0]
    largest_cell = max(float(np.abs(in_cell).max()), 1e-300)
    if atoms.pbc.any():
        cell_errors = [
            abs(slope(stretched(vector, axis), displacement) - in_cell[vector, axis])
            for vector in np.flatnonzero(atoms.pbc).tolist()
            for axis in range(3)
        ]
    return float(np.median(errors)) / max(largest, 1e-300), float(np.median(cell_errors)) / largest_cell


def _symmetry_error(model: AtomwiseUncertainty, atoms: Atoms, rng: np.random.Generator) -> float:
    values = model(atoms)
    order = rng.permutation(len(atoms))
    turn = Rotation.random(rng=rng).as_matrix()
    turned = atoms[order]
    turned.set_cell(np.array(atoms.cell) @ turn.T)
    turned.positions = atoms.positions[order] @ turn.T + rng.uniform(-9.0, 9.0, 3)
    return float(np.max(np.abs(model(turned) - values[order])) / np.max(values))


def _check_files(model: AtomwiseUncertainty, atoms: Atoms) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = model.save(Path(folder) / "uncertainty")
        loaded = type(model).load(path)(atoms)  # to rounding: a file need not say on which device it was computed
        _require(np.allclose(loaded, model(atoms), rtol=1e-9), "a loaded copy gives the same values")
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        try:
            type(model).load(path)
        except ArtifactError as error:
            _require(path.name in str(error), "the error about a damaged file names it")
        else:
            raise AssertionError("broken: a truncated file is refused with ArtifactError")


def _check_refusals(model: AtomwiseUncertainty, atoms: Atoms) -> None:
    broken = atoms.copy()
    broken.positions[0, 0] = np.nan
    try:
        model(broken)
    except InputError:
        return
    raise AssertionError("broken: positions that are not finite are refused with InputError")
