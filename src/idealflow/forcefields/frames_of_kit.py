"""Unusual frames of the conformance kit: partly periodic, left-handed, nearly empty, large; and other processes."""

from __future__ import annotations

import hashlib
import inspect
import io
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.io import read, write
from numpy.typing import NDArray

from idealflow.errors import IdealflowError
from idealflow.forcefields.protocol import AtomicForceField, ForceField

__all__ = ["check_frames", "require", "stress_error_of", "tell"]

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_FAR = 40.0  # Å; further than any force field of today looks
_STEP = 1e-3  # Å, of central differences
_MANY = 1000  # atoms; more than any of our force fields computes at once on a CPU
_SLOPE_TOLERANCE = 0.01  # eV/Å; energies in single precision leave so much to central differences


def require(true: bool, rule: str) -> None:
    """Raise AssertionError with the rule unless it holds.

    Examples
    --------
    >>> require(False, "errors are finite after fit")
    Traceback (most recent call last):
    AssertionError: broken: errors are finite after fit
    """
    if not true:
        raise AssertionError(f"broken: {rule}")


def stress_error_of(atoms: Atoms, step: float) -> float:
    """Largest difference between the stress and the slope of the energy with strain over the volume, eV/Å³.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.calc = EMT()
    >>> stress_error_of(atoms, 1e-4) < 1e-6
    True
    """
    slopes = []
    for a, b in _VOIGT:
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[a, b] += sign * step / 2  # symmetric; both halves fall on the diagonal for a = b
            deformation[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.calc = atoms.calc
            strained.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            energies.append(strained.get_potential_energy())
        slopes.append((energies[0] - energies[1]) / (2 * step) / atoms.get_volume())
    return float(np.abs(atoms.get_stress() - np.array(slopes)).max())


def check_frames(
    trained: ForceField, sample: Atoms, *, tolerance: float, stress_tolerance: float, strain: float
) -> None:
    """Check what a trained force field says of unusual frames, made of a structure that it knows.

    Parameters
    ----------
    trained
        Force field; it is not changed.
    sample
        Periodic structure of its species.
    tolerance
        Largest accepted differences of energies per atom and forces, eV and eV/Å.
    stress_tolerance
        That of stresses, eV/Å³.
    strain
        Step of central differences of the stress, without unit.

    Raises
    ------
    AssertionError
        When a convention is broken; the message says which.

    Examples
    --------
    A part of :func:`~idealflow.testing.check_force_field`, which shows it.

    >>> check_frames.__name__
    'check_frames'
    """
    _check_periodicity(trained, sample, tolerance)
    _check_handedness(trained, sample, tolerance, stress_tolerance, strain)
    _check_few_atoms(trained, sample, tolerance)
    _check_damage(trained, sample)
    _check_atomic_energies(trained, sample, tolerance)
    _check_parts(trained, sample)
    _check_large(trained, sample, tolerance)
    _check_processes(trained, sample)


def _sharpened(tolerance: float, size: float) -> float:
    """A tolerance that is small beside the size of what is compared, but not beside rounding in single precision."""
    return min(tolerance, 0.05 * size + 1e-5)


def _said(trained: ForceField, atoms: Atoms) -> tuple[float, NDArray[np.float64]]:
    frame = atoms.copy()
    frame.calc = trained.calculator()
    return float(frame.get_potential_energy()), frame.get_forces()


def _check_periodicity(trained: ForceField, sample: Atoms, tolerance: float) -> None:
    """Directions that are not periodic end in vacuum, and the others do not.

    A force field after a short fit may hardly see the difference, so the tolerance is small beside that between all and none.
    """
    alone = sample.copy()
    alone.pbc = False
    effect = float(np.abs(_said(trained, alone)[1] - _said(trained, sample)[1]).max())
    tolerance = _sharpened(tolerance, effect)
    for pbc in ((True, True, False), (True, False, False), (False, False, False)):
        open_frame, padded = sample.copy(), sample.copy()
        open_frame.pbc = pbc
        cell = padded.cell.array.copy()
        for axis in np.flatnonzero(~np.array(pbc)):
            normal = np.cross(cell[axis - 2], cell[axis - 1])
            normal *= np.sign(normal @ cell[axis]) / np.linalg.norm(normal)
            cell[axis] += _FAR * normal
        padded.set_cell(cell)
        padded.pbc = True
        rule = f"a frame with pbc {''.join('FT'[p] for p in pbc)} is that with vacuum in the other directions"
        energy, forces = _said(trained, open_frame)
        expected, expected_forces = _said(trained, padded)
        require(abs(energy - expected) / len(sample) <= tolerance, f"{rule}: energies differ")
        require(float(np.abs(forces - expected_forces).max()) <= tolerance, f"{rule}: forces differ")
        require(_slope_error(trained, open_frame) <= _SLOPE_TOLERANCE, f"{rule}: forces are no slopes of the energy")


def _slope_error(trained: ForceField, atoms: Atoms) -> float:
    """Difference between force and slope of the energy in the direction in which the force is, eV/Å."""
    _, forces = _said(trained, atoms)
    length = float(np.linalg.norm(forces))
    if length == 0.0:
        return 0.0
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * _STEP * forces / length
        energies.append(_said(trained, moved)[0])
    return abs(length + (energies[0] - energies[1]) / (2 * _STEP))


def _check_handedness(
    trained: ForceField, sample: Atoms, tolerance: float, stress_tolerance: float, strain: float
) -> None:
    """Two cell vectors in the other order are the same crystal."""
    left = sample.copy()
    left.set_cell(sample.cell.array[[1, 0, 2]])
    left.pbc = sample.pbc[[1, 0, 2]]
    right = sample.copy()
    left.calc = right.calc = trained.calculator()
    rule = "a left-handed cell is the same crystal as the right-handed one"
    stress_tolerance = _sharpened(stress_tolerance, float(np.abs(right.get_stress()).max()))
    require(
        abs(left.get_potential_energy() - right.get_potential_energy()) / len(left) <= tolerance,
        f"{rule}: energies differ",
    )
    require(float(np.abs(left.get_forces() - right.get_forces()).max()) <= tolerance, f"{rule}: forces differ")
    require(float(np.abs(left.get_stress() - right.get_stress()).max()) <= stress_tolerance, f"{rule}: stresses differ")
    require(stress_error_of(left, strain) <= stress_tolerance, f"{rule}: the stress is no slope of the energy")


def _check_few_atoms(trained: ForceField, sample: Atoms, tolerance: float) -> None:
    """One atom alone, two far from each other, and three in a row, of which the ends have one neighbour each."""
    symbol = sample.get_chemical_symbols()[0]
    one, pull = _said(trained, Atoms(symbol))
    require(np.isfinite(one) and not pull.any(), "one atom alone has a finite energy, and no force on it")
    two, pulls = _said(trained, Atoms([symbol] * 2, [[0, 0, 0], [0, 0, _FAR]]))
    require(
        abs(two - 2 * one) <= tolerance and float(np.abs(pulls).max()) <= tolerance,
        "two far atoms are two single atoms",
    )
    near = min(2.5, 0.8 * trained.cutoff)
    for row in ([0.0, near], [0.0, near, 2 * near]):
        energy, forces = _said(trained, Atoms([symbol] * len(row), [[0, 0, z] for z in row]))
        rule = f"{len(row)} atoms in a row without further neighbours"
        require(bool(np.isfinite(energy) and np.isfinite(forces).all()), f"{rule}: energy and forces are finite")
        require(float(np.abs(forces.sum(axis=0)).max()) <= tolerance, f"{rule}: forces add up to zero")


def _check_damage(trained: ForceField, sample: Atoms) -> None:
    """No calculator answers what is not a number."""
    for value in (np.nan, np.inf):
        damaged = sample.copy()
        damaged.positions[-1] = value
        damaged.calc = trained.calculator()
        try:
            damaged.get_potential_energy()
        except IdealflowError:
            continue
        raise AssertionError(
            f"broken: positions that are {value} are refused with InputError, for the energy alone too"
        )


def _check_atomic_energies(trained: ForceField, sample: Atoms, tolerance: float) -> None:
    """Energies of atoms add up, for force fields that tell them: what a committee needs."""
    if not isinstance(trained, AtomicForceField):
        return
    energy, forces = _said(trained, sample)
    energies, pull = trained.atomic_energies().linearised(sample)
    in_positions, _ = pull(np.ones(len(sample)))
    require(
        abs(float(energies.sum()) - energy) / len(sample) <= tolerance, "energies of the atoms add up to the energy"
    )
    require(float(np.abs(in_positions + forces).max()) <= tolerance, "the gradient of their sum is minus the forces")
    some = np.arange(0, len(sample), 3)
    alone = trained.atomic_energies()(sample, some)
    require(float(np.abs(alone - energies[some]).max()) <= tolerance, "energies of some atoms are those among all")
    _, pull_some = trained.atomic_energies().linearised(sample, some)
    weights = np.zeros(len(sample))
    weights[some] = 1.0
    for part, whole in zip(pull_some(np.ones(len(some))), pull(weights), strict=True):
        require(float(np.abs(part - whole).max()) <= 10 * tolerance, "so are the gradients of their sum")


def _check_parts(trained: ForceField, sample: Atoms) -> None:
    """A frame in parts is the whole one, for calculators that can divide."""
    if "pairs_at_once" not in inspect.signature(trained.calculator).parameters:
        return
    frame = sample.repeat((2, 1, 1))
    frame.rattle(0.05, seed=1)
    found = []
    for size in (10**9, 500, 1):
        frame.calc = trained.calculator(pairs_at_once=size)  # type: ignore[call-arg]  # see above
        found.append((frame.get_potential_energy(), frame.get_forces(), frame.get_stress()))
    for energy, forces, stress in found[1:]:
        rule = "a frame in parts has the energy, forces and stress of the whole"
        require(abs(energy - found[0][0]) / len(frame) <= 1e-6, rule)
        require(float(np.abs(forces - found[0][1]).max()) <= 1e-5, rule)
        require(float(np.abs(stress - found[0][2]).max()) <= 1e-6, rule)


def _check_large(trained: ForceField, sample: Atoms, tolerance: float) -> None:
    """Many copies of a cell are the cell, though they are more atoms than are computed at once."""
    times = int(np.ceil((_MANY / len(sample)) ** (1 / 3)))
    energy, forces = _said(trained, sample)
    many, many_forces = _said(trained, sample.repeat(times))
    rule, tolerance = f"a frame of {times}³ copies of a cell is that cell", min(tolerance, 1e-4)
    require(abs(many / times**3 - energy) / len(sample) <= tolerance, f"{rule}: energies differ")
    difference = np.abs(many_forces - np.tile(forces, (times**3, 1))).max()
    require(float(difference) <= tolerance, f"{rule}: forces differ")


def _check_processes(trained: ForceField, sample: Atoms) -> None:
    """Saved and loaded in other processes, with one thread and with two, it says the same again and again."""
    if "<locals>" in type(trained).__qualname__ or type(trained).__module__ == "__main__":
        return  # no other process can import such a class
    with tempfile.TemporaryDirectory() as folder:
        model, frames = Path(folder) / "force_field", Path(folder) / "frames.json"
        trained.save(model)
        write(frames, [sample, sample.repeat((2, 2, 1))])
        own = torch.get_num_threads()
        for threads in sorted({own, 1, 2}):
            said = _elsewhere(model, frames, threads)
            if threads == own:
                with redirect_stdout(io.StringIO()) as here:
                    tell(str(model), str(frames))
                said += here.getvalue().split()
            require(
                len(set(said)) == 1,
                f"with {threads} threads it says the same every time, in any process, to the bit",
            )


def tell(model: str, frames: str) -> None:
    """Print a hash of what a saved force field says of some frames, twice.

    Parameters
    ----------
    model, frames
        Files.

    Examples
    --------
    >>> tell.__module__  # what other processes call
    'idealflow.forcefields.frames_of_kit'
    """
    from idealflow.forcefields.registry import load_force_field

    for _ in range(2):
        calculator, digest = load_force_field(model).calculator(), hashlib.sha256()
        for atoms in read(frames, index=":"):
            atoms.calc = calculator
            digest.update(np.float64(atoms.get_potential_energy()).tobytes() + atoms.get_forces().tobytes())
        print(digest.hexdigest())  # noqa: T201  # read by the process that asked


def _elsewhere(model: Path, frames: Path, threads: int) -> list[str]:
    code = (
        f"import torch; torch.set_num_threads({threads}); from {__name__} import tell; import sys; tell(*sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, str(model), str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own interpreter
    require(done.returncode == 0, f"another process can load the file: {done.stderr.strip()[-500:]}")
    return done.stdout.split()
