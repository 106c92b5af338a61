"""Proof that an uncertainty keeps the conventions on which screening, cropping, relaxation and campaigns rest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from idealflow.core.protocols import ForceFieldUpdate, OnePass, Uncertainty
from idealflow.core.registry import check_registered, load_uncertainty, missing_members
from idealflow.errors import ArtifactError, InputError

__all__ = ["UncertaintyCheck", "check_uncertainty"]

Float = NDArray[np.float64]


@dataclass(frozen=True)
class UncertaintyCheck:
    """What :func:`check_uncertainty` measured, each the largest over the frames, relative to the largest component.

    Attributes
    ----------
    gradient_error, cell_error
        Gradient against central differences, in positions and in the cell.
    symmetry_error
        Change of values after reordering, rotating and translating.

    Examples
    --------
    >>> UncertaintyCheck(gradient_error=9.6e-8, cell_error=1.2e-8, symmetry_error=1e-14).cell_error < 1e-5
    True
    """

    gradient_error: float
    cell_error: float
    symmetry_error: float


def check_uncertainty(
    model: Uncertainty,
    frames: Sequence[Atoms],
    *,
    labelled: Sequence[Atoms] = (),
    displacement: float = 1e-4,
    tolerance: float = 1e-5,
    symmetry_tolerance: float = 1e-8,
    seed: int = 0,
) -> UncertaintyCheck:
    """Check a measure: members and name, values, objective, gradients, symmetries, coverage, learning, files and refusals.

    Parameters
    ----------
    model
        The measure, fitted; only copies of it are changed.
    frames
        Structures out of equilibrium, of species the model has seen; periodic ones show more.
    labelled
        Structures with energy and forces for a measure that learns them (``learns_labels``); without any, how it learns is not
        checked. Other measures learn ``frames``.
    displacement
        Step of central differences, Å. A descriptor with a hard cutoff jumps where a pair crosses it, so each error is the
        median over several atoms or cell components.
    tolerance, symmetry_tolerance
        Largest accepted errors, relative.
    seed
        Seed of weights, references, chosen atoms, rotations and orders.

    Returns
    -------
    UncertaintyCheck
        The errors found.

    Raises
    ------
    AssertionError
        When a convention is broken; the message says which.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> def cell(seed):
    ...     atoms = bulk("Cu", cubic=True)
    ...     atoms.rattle(0.1, seed=seed)
    ...     return atoms
    >>> u = UncertaintyModel.fit([cell(seed) for seed in range(20)], SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> check_uncertainty(u, [cell(50)]).symmetry_error < 1e-8
    True
    """
    _check_members(model)
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
    _check_coverage(model, frames[0])
    if labelled or not model.learns_labels:
        _check_learning(model, labelled or frames)
    _check_files(model, frames[0])
    _check_refusals(model, frames[0])
    return UncertaintyCheck(gradient_error, cell_error, symmetry_error)


def _require(true: bool, rule: str) -> None:
    if not true:
        raise AssertionError(f"broken: {rule}")


def _within(value: float, tolerance: float, rule: str) -> None:
    _require(value <= tolerance, f"{rule}; differs by {value:.3g}, accepted {tolerance:.3g}")


def _check_members(model: Uncertainty) -> None:
    missing = missing_members(type(model))
    _require(not missing, f"it has every member of idealflow.core.Uncertainty; missing: {', '.join(missing)}")
    try:
        check_registered(type(model))
    except InputError as error:
        raise AssertionError(
            f"broken: its name leads to its class, so that its files can be opened; {error}"
        ) from error


def _check_values(model: Uncertainty, atoms: Atoms, rng: np.random.Generator) -> None:
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
    if isinstance(model, OnePass):
        same, pull_back = model.values_and_pull_back(atoms)
        _require(np.allclose(same, values, rtol=1e-9), "`values_and_pull_back` has the same values")
        for one, other in zip(pull_back(weights), model.value_and_gradient(atoms, weights)[1:], strict=True):
            size = max(float(np.abs(other).max()), 1e-300)
            _require(
                bool(np.abs(one - other).max() <= 1e-7 * size), "`values_and_pull_back` has the gradient of their mean"
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
    model: Uncertainty,
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


def _symmetry_error(model: Uncertainty, atoms: Atoms, rng: np.random.Generator) -> float:
    values = model(atoms)
    order = rng.permutation(len(atoms))
    turn = Rotation.random(rng=rng).as_matrix()
    turned = atoms[order]
    turned.set_cell(np.array(atoms.cell) @ turn.T)
    turned.positions = atoms.positions[order] @ turn.T + rng.uniform(-9.0, 9.0, 3)
    return float(np.max(np.abs(model(turned) - values[order])) / np.max(values))


def _check_coverage(model: Uncertainty, atoms: Atoms) -> None:
    threshold = model.auto_threshold()
    _require(bool(np.isfinite(threshold)) and threshold > 0.0, "the automatic threshold is a positive number")
    prints = model.fingerprints(model.prepare(atoms))
    _require(len(prints) == len(atoms), "one fingerprint per atom")
    for number in np.unique(atoms.numbers):
        shapes = {np.shape(prints[i]) for i in np.flatnonzero(atoms.numbers == number).tolist()}
        _require(len(shapes) == 1, "fingerprints of one species are of equal length")
    same = all(np.array_equal(*pair) for pair in zip(prints, model.fingerprints(atoms), strict=True))
    _require(same, "a prepared frame has the fingerprints of the frame")

    before, quarantined = model.covered(atoms, threshold), dict(model.n_quarantined)
    _require(before.shape == (len(atoms),) and before.dtype == bool, "covered is one bool per atom")
    covering = model.copy()
    covering.cover(atoms, [0], quarantined=True)
    _require(bool(covering.covered(atoms, threshold, [0])[0]), "a quarantined environment covers itself")
    _require(
        sum(covering.n_quarantined.values()) == sum(quarantined.values()) + 1, "quarantined environments are counted"
    )
    _require(
        model.n_quarantined == quarantined and np.array_equal(model.covered(atoms, threshold), before),
        "what a copy covers, the original does not",
    )
    covering.forget_quarantined()
    _require(not any(covering.n_quarantined.values()), "forgotten environments are not counted")
    covering.cover(atoms, [0])
    covering.forget_quarantined()
    _require(bool(covering.covered(atoms, threshold, [0])[0]), "what was learned goes on covering")


def _check_learning(model: Uncertainty, frames: Sequence[Atoms]) -> None:
    before, values = dict(model.n_samples), model(frames[0])
    grown = model.copy()
    grown.update(frames, [np.arange(len(atoms)) < 1 for atoms in frames], ForceFieldUpdate(steps=1, n_replay=1))
    _require(
        sum(grown.n_samples.values()) == sum(before.values()) + len(frames),
        "of a structure those atoms join that masks choose",
    )
    _require(
        model.n_samples == before and np.array_equal(model(frames[0]), values),
        "what a copy learns, the original does not",
    )


def _check_files(model: Uncertainty, atoms: Atoms) -> None:
    with tempfile.TemporaryDirectory() as folder:
        covering = model.copy()
        covering.cover(atoms, [0])
        path = covering.save(Path(folder) / "uncertainty")
        content = path.read_bytes()
        _require(covering.save(path).read_bytes() == content, "equal content gives equal files")
        loaded = load_uncertainty(path)
        _require(type(loaded) is type(model), "its file leads to its class")
        # to rounding: a file need not say on which device it was computed
        _require(np.allclose(loaded(atoms), model(atoms), rtol=1e-9), "a loaded copy gives the same values")
        _require(loaded.n_samples == model.n_samples, "a loaded copy knows the same environments")
        _require(
            bool(loaded.covered(atoms, model.auto_threshold(), [0])[0]), "a loaded copy covers the same environments"
        )
        path.write_bytes(content[: len(content) // 2])
        try:
            type(model).load(path)
        except ArtifactError as error:
            _require(path.name in str(error), "the error about a damaged file names it")
        else:
            raise AssertionError("broken: a truncated file is refused with ArtifactError")


def _check_refusals(model: Uncertainty, atoms: Atoms) -> None:
    broken, foreign = atoms.copy(), atoms.copy()
    broken.positions[0, 0] = np.nan
    foreign.symbols[0] = next(symbol for symbol in chemical_symbols[1:] if symbol not in model.species)
    for refused, rule in ((broken, "positions that are not finite"), (foreign, "species that it does not know")):
        try:
            model(refused)
        except InputError:
            continue
        raise AssertionError(f"broken: {rule} are refused with InputError")
