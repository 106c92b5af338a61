"""Conformance kit for force fields: checks the conventions that a campaign relies on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields.frames_of_kit import check_frames, require, stress_error_of
from idealflow.forcefields.protocol import ForceField
from idealflow.forcefields.registry import check_registered

__all__ = ["ForceFieldCheck", "check_force_field"]


@dataclass(frozen=True)
class ForceFieldCheck:
    """What :func:`check_force_field` measured.

    Attributes
    ----------
    force_error
        Largest difference between the force along a random direction and the slope of the energy, eV/Å.
    stress_error
        Largest difference between the stress and the slope of the energy with strain, eV/Å³.
    symmetry_error
        Largest change of forces (eV/Å), energy (eV/atom) or stress (eV/Å³), turned back, after the atoms were reordered,
        rotated and translated.
    errors : (n, 3)
        Errors on the dataset after the short fit: eV/atom, eV/Å, eV/Å³.

    Examples
    --------
    Returned by :func:`check_force_field`, which shows one.

    >>> ForceFieldCheck(force_error=1e-5, stress_error=1e-7, symmetry_error=1e-9, errors=np.zeros((2, 3))).force_error
    1e-05
    """

    force_error: float
    stress_error: float
    symmetry_error: float
    errors: NDArray[np.float64]


def check_force_field(
    force_field: ForceField,
    dataset: Sequence[Atoms],
    *,
    steps: int = 20,
    displacement: float = 1e-3,
    strain: float = 1e-4,
    force_tolerance: float = 0.01,
    stress_tolerance: float = 0.001,
    symmetry_tolerance: float = 0.001,
    seed: int = 0,
) -> ForceFieldCheck:
    """Check a force field: derivatives, symmetries, determinism, files, refusal of bad input, masked forces, and unusual frames.

    Unusual frames are periodic in two directions, one or none, have a left-handed cell, hold one atom, or two far apart.
    Large ones hold a thousand atoms, copies of a cell. Where the calculator can divide frames (it takes ``pairs_at_once``), parts
    are held against the whole. What it says in a second process, and with two threads there, must be the same from run to run;
    that is left out for a class that no other process can import.

    Parameters
    ----------
    force_field
        Untrained or trained; only copies of it are changed.
    dataset
        At least two labelled structures, periodic, with stress, out of equilibrium.
    steps
        Gradient steps of every short fit.
    displacement, strain
        Steps of the central differences, in Å and without unit; take larger ones if energies are in single precision.
    force_tolerance, stress_tolerance, symmetry_tolerance
        Largest accepted differences, eV/Å, eV/Å³ and eV/Å.
    seed
        Seed of fits, random directions, rotations and orders of atoms.

    Returns
    -------
    ForceFieldCheck
        The differences found.

    Raises
    ------
    AssertionError
        When a convention is broken; the message says which.
    InputError
        When the dataset has fewer than two structures or one without stress, or the class is not registered, so that its files
        could not be opened elsewhere.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.forcefields import get_force_field
    >>> def labelled(seed):
    ...     atoms = bulk("Cu", cubic=True)
    ...     atoms.rattle(0.1, seed=seed)
    ...     atoms.calc = EMT()
    ...     atoms.get_stress()  # computes energy and forces too
    ...     return atoms
    >>> small = get_force_field("local", species=["Cu"], cutoff=3.0, n_channels=2, hidden=[4])
    >>> check_force_field(small, [labelled(seed) for seed in range(2)], steps=2).force_error < 0.01
    True
    """
    if len(dataset) < 2 or any("stress" not in atoms.calc.results for atoms in dataset):
        raise InputError("the kit needs at least two labelled structures, each with stress")
    check_registered(type(force_field))
    rng = np.random.default_rng(seed)
    trained = force_field.copy()
    report = trained.fit(dataset, steps=steps, seed=seed)
    require(report.errors.shape == (len(dataset), 3), "the report of fit has errors of shape (n, 3)")
    require(bool(np.isfinite(report.errors).all()), "errors are finite after fit")
    require(
        np.array_equal(report.errors, trained.errors(dataset)), "the report of fit has the errors that errors() gives"
    )
    _check_pure(trained, dataset)
    _check_repeatable(force_field, trained, dataset, steps, seed)
    _check_files(trained, dataset, steps, seed)
    _check_refusals(trained, dataset, steps)
    _check_masks(force_field, dataset, steps, seed)
    check_frames(
        trained, bare(dataset[0]), tolerance=symmetry_tolerance, stress_tolerance=stress_tolerance, strain=strain
    )

    sample = bare(dataset[0])
    sample.calc = trained.calculator()
    force_error = max(_force_error(sample, rng, displacement) for _ in range(3))
    _within(force_error, force_tolerance, "eV/Å, forces are minus the slope of the energy")
    stress_error = stress_error_of(sample, strain)
    _within(stress_error, stress_tolerance, "eV/Å³, stress is the slope of the energy with strain, over the volume")
    symmetry_error = _symmetry_error(sample, rng)
    _within(symmetry_error, symmetry_tolerance, "eV/Å, forces turn with the structure, and energy does not change")
    return ForceFieldCheck(force_error, stress_error, symmetry_error, report.errors)


def bare(atoms: Atoms) -> Atoms:
    """The structure without its label."""
    copied = atoms.copy()
    copied.calc = None
    return copied


def _within(value: float, tolerance: float, rule: str) -> None:
    if not value <= tolerance:
        raise AssertionError(f"broken: {rule}; differs by {value:.3g}, accepted {tolerance:.3g}")


def _predicted(force_field: ForceField, dataset: Sequence[Atoms]) -> list[tuple[float, NDArray[np.float64]]]:
    out, calculator = [], force_field.calculator()
    for atoms in dataset:
        frame = bare(atoms)
        frame.calc = calculator
        out.append((float(frame.get_potential_energy()), np.hstack([frame.get_forces().ravel(), frame.get_stress()])))
    return out


def _same(first: ForceField, second: ForceField, dataset: Sequence[Atoms]) -> bool:
    pairs = zip(_predicted(first, dataset), _predicted(second, dataset), strict=True)
    return all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in pairs)


def _check_pure(trained: ForceField, dataset: Sequence[Atoms]) -> None:
    forth = _predicted(trained, dataset)
    back = _predicted(trained, dataset[::-1])[::-1]
    same = all(a[0] == b[0] and np.array_equal(a[1], b[1]) for a, b in zip(forth, back, strict=True))
    require(same, "the calculator's results depend on the frame alone, not on frames before it")


def _check_repeatable(
    force_field: ForceField, trained: ForceField, dataset: Sequence[Atoms], steps: int, seed: int
) -> None:
    again = force_field.copy()
    again.fit(dataset, steps=steps, seed=seed)
    require(_same(trained, again, dataset), "two fits with one seed give the same force field, to the bit")
    report = again.update(dataset[:1], dataset[1:], steps=steps, lr=1e-4, seed=seed)
    require(not _same(trained, again, dataset), "an update changes the force field, and no copy of it")
    require(
        np.array_equal(report.errors, again.errors(dataset[:1]), equal_nan=True),
        "the report of an update has the errors that errors() gives of the new structures",
    )


def _check_files(trained: ForceField, dataset: Sequence[Atoms], steps: int, seed: int) -> None:
    from idealflow.forcefields.registry import load_force_field

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "force_field"
        kept = trained.copy()
        trained.save(path)
        whole = path.read_bytes()
        loaded = load_force_field(path)
        require(_same(trained, loaded, dataset), "a saved and loaded force field predicts the same, to the bit")
        for force_field in (kept, loaded):
            force_field.update(dataset[:1], dataset[1:], steps=steps, lr=1e-4, seed=seed)
        require(
            _same(kept, loaded, dataset),
            "learning goes on after loading as it would have without: the optimiser's state is saved",
        )
        for content, rule in (
            (whole[: len(whole) // 2], "a truncated file is refused with ArtifactError"),
            (b"something else\n", "a foreign file is refused with ArtifactError"),
        ):
            path.write_bytes(content)
            _raises(ArtifactError, lambda: trained.load(path), rule)
        path.unlink()
        _raises(ArtifactError, lambda: trained.load(path), "a missing file is refused with ArtifactError")


def _raises(kind: type[Exception], act: Callable[[], object], rule: str) -> None:
    try:
        act()
    except kind:
        return
    raise AssertionError(f"broken: {rule}")


def _check_refusals(trained: ForceField, dataset: Sequence[Atoms], steps: int) -> None:
    calculator = trained.calculator()
    damaged, foreign = bare(dataset[0]), bare(dataset[0])
    damaged.positions[0, 0] = np.nan
    foreign.symbols[0] = next(symbol for symbol in chemical_symbols[1:] if symbol not in trained.species)
    for frame, rule in ((damaged, "NaN positions are refused"), (foreign, "unknown species are refused")):
        frame.calc = calculator
        _raises(InputError, frame.get_forces, f"{rule} with InputError")
    labelled = relabelled(foreign, dataset[0].calc.results)
    without, wrong = dict(dataset[0].calc.results), dict(dataset[0].calc.results)
    without["energy"], wrong["energy"] = None, float("nan")
    for bad, rule in (
        ([], "an empty dataset is refused"),
        ([labelled], "a labelled structure with unknown species is refused"),
        ([relabelled(dataset[0], without)], "a label without energy is refused"),
        ([relabelled(dataset[0], wrong)], "a label that is NaN is refused"),
    ):
        _raises(InputError, partial(trained.copy().fit, bad, steps=steps), f"{rule} with InputError")


def relabelled(atoms: Atoms, results: dict[str, object]) -> Atoms:
    """The structure with another label."""
    made = bare(atoms)
    made.calc = SinglePointCalculator(made, **results)
    return made


def _check_masks(force_field: ForceField, dataset: Sequence[Atoms], steps: int, seed: int) -> None:
    without = [relabelled(a, {k: a.calc.results[k] for k in ("energy", "forces")}) for a in dataset]
    learner = force_field.copy()
    errors = learner.fit(without, steps=steps, seed=seed).errors
    require(bool(np.isnan(errors[:, 2]).all()), "stress errors are NaN where labels have no stress")
    require(bool(np.isfinite(errors[:, :2]).all()), "structures without stress can be learned from")
    learners = []
    for wrong in (0.0, 3.0):  # a masked force may be anything
        masked = []
        for atoms in dataset:
            results = dict(atoms.calc.results)
            results["forces"] = results["forces"].copy()
            results["forces"][0] += wrong
            masked.append(relabelled(atoms, results))
            masked[-1].arrays["force_weight"] = np.r_[0.0, np.ones(len(atoms) - 1)]
        learner = force_field.copy()
        learner.fit(masked, steps=steps, seed=seed)
        learners.append(learner)
    require(_same(learners[0], learners[1], dataset), "forces whose force_weight is 0 have no influence")


def _force_error(atoms: Atoms, rng: np.random.Generator, step: float) -> float:
    direction = rng.normal(size=(len(atoms), 3))
    direction /= np.linalg.norm(direction)
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.positions += sign * step * direction
        energies.append(moved.get_potential_energy())
    return float(abs((atoms.get_forces() * direction).sum() + (energies[0] - energies[1]) / (2 * step)))


def _symmetry_error(atoms: Atoms, rng: np.random.Generator) -> float:
    order = rng.permutation(len(atoms))
    turn = Rotation.random(random_state=rng).as_matrix()
    other = atoms[order]
    other.calc = atoms.calc
    other.positions += rng.integers(-1, 2, size=(len(atoms), 3)) * atoms.pbc @ atoms.cell.array + rng.normal(size=3)
    other.set_cell(other.cell.array @ turn)
    other.positions = other.positions @ turn
    turned = turn.T @ voigt_6_to_full_3x3_stress(atoms.get_stress()) @ turn
    return float(
        max(
            np.abs(other.get_forces() - atoms.get_forces()[order] @ turn).max(),
            abs(other.get_potential_energy() - atoms.get_potential_energy()) / len(atoms),
            np.abs(other.get_stress() - full_3x3_to_voigt_6_stress(turned)).max(),
        )
    )
