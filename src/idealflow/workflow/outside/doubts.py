"""What speaks against labels that come back: energies far from those of their neighbours, and units that do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from idealflow.workflow.frames.agreement import FACTORS

__all__ = ["doubts"]

Floats = NDArray[np.float64]

_FAR = 1.0  # eV per atom
_LARGEST = {"forces": 200.0, "stresses": 2.0}  # eV/Å, eV/Å³; nothing that a label is asked for comes near
_FLOOR = {"forces": 0.02, "stresses": 0.002, "energies": 0.002}  # eV/Å, eV/Å³, eV: smaller ones tell no units
_NAMES = {"forces": "eV/Å", "stresses": "eV/Å³"}
_PLAUSIBLE = 3.0  # largest factor between two values of one quantity that is no question of units


def doubts(labels: Mapping[str, Atoms], known: Sequence[Atoms], model: Calculator | None) -> list[str]:
    """Tell what is doubtful about labels, one sentence each; none if nothing is.

    Energies per atom are compared with those of the labels that are known, up to a constant per species, or with those of
    the same composition. Units of forces and stresses are compared with the model's; without a model, with the energies:
    between two arrangements of the same atoms the energy changes by the work of forces and stress, half of each end's.

    Parameters
    ----------
    labels
        Labelled structures by request key.
    known
        Labelled structures that the campaign learned from, by the same method.
    model
        Calculator of the campaign's force field; None before the first.

    Examples
    --------
    Energies in Hartree, forces in eV/Å:

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.structure import set_label
    >>> labels = {}
    >>> for seed in range(6):
    ...     atoms = bulk("Cu", cubic=True) * 2
    ...     atoms.rattle(0.02 * (seed + 1), seed=seed)
    ...     atoms.calc = EMT()
    ...     energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    ...     labels[str(seed)] = set_label(atoms.copy(), energy / 27.211386, forces, atoms.get_stress())
    >>> print(doubts(labels, [], None)[0])
    energies change by 0.0... of the work of the forces; Hartree for energies would explain it
    """
    found = [*_too_large(labels), *_far_energies(labels, known)]
    return found + (_against_work(list(labels.values())) if model is None else _against_model(labels, model))


def _too_large(labels: Mapping[str, Atoms]) -> list[str]:
    found = []
    for what, name in (("forces", "forces"), ("stresses", "stress")):
        sizes = {key: np.abs(atoms.calc.results.get(name, 0.0)).max() for key, atoms in labels.items()}
        key = max(sizes, key=lambda key: sizes[key])
        if sizes[key] > _LARGEST[what]:
            found.append(
                f"the largest of the {what} is {sizes[key]:.3g} {_NAMES[what]}, of {key}; are they in that unit?"
            )
    return found


def _far_energies(labels: Mapping[str, Atoms], known: Sequence[Atoms]) -> list[str]:
    """Labels whose energy per atom is far from what their composition lets expect."""
    new = list(labels.values())
    species = np.unique(np.concatenate([atoms.numbers for atoms in [*known, *new]]))
    contents = [_contents(some, species) for some in (known, new)]
    energies = _energies(new)
    if len(known) > len(species) and np.linalg.matrix_rank(contents[0]) == len(species):
        fitted = np.linalg.lstsq(contents[0], _energies(known), rcond=None)[0]
        expected, spread = contents[1] @ fitted, float(np.std(_energies(known) - contents[0] @ fitted))
    else:
        groups = np.unique(np.round(contents[1], 6), axis=0, return_inverse=True)[1].ravel()
        expected = np.array([np.median(energies[groups == group]) for group in groups])
        spread = 0.0
    found = []
    for key, energy, usual in zip(labels, energies, expected, strict=True):
        if abs(energy - usual) > max(_FAR, 10.0 * spread):
            units = [unit for unit, factor in FACTORS["energies"].items() if abs(energy / factor - usual) < 0.5 * _FAR]
            found.append(
                f"{key} has {energy:.4g} eV per atom, its neighbours {usual:.4g}"
                + (f"; {units[0]} would explain it" if units else "")
            )
    return found


def _against_model(labels: Mapping[str, Atoms], model: Calculator) -> list[str]:
    """Whether forces and stresses are those of the model but for a unit or a sign."""
    pairs: dict[str, list[tuple[Floats, Floats]]] = {"forces": [], "stresses": []}
    for atoms in labels.values():
        copy = atoms.copy()
        copy.calc = model
        pairs["forces"].append((atoms.calc.results["forces"].ravel(), copy.get_forces().ravel()))
        if atoms.calc.results.get("stress") is not None:
            pairs["stresses"].append((np.asarray(atoms.calc.results["stress"]), copy.get_stress()))
    found = []
    for what, both in pairs.items():
        if not both:
            continue
        given, expected = (np.concatenate(side) for side in zip(*both, strict=True))
        size = float(np.sqrt(np.mean(expected**2)))
        lengths = float(np.linalg.norm(given)) * float(np.linalg.norm(expected))
        alike = float(given @ expected) / lengths if lengths else 0.0
        ratio = float(np.linalg.norm(given) / np.linalg.norm(expected)) * np.sign(alike) if size else 0.0
        if size < _FLOOR[what] or abs(alike) < 0.7 or 1 / _PLAUSIBLE < ratio < _PLAUSIBLE:
            continue  # too small, another landscape, or as it should be
        found.append(f"{what} are {ratio:.3g} times those of the model{_explained(what, ratio)}")
    return found


def _against_work(frames: Sequence[Atoms]) -> list[str]:
    """Whether energies change by the work of forces and stresses between arrangements of the same atoms."""
    groups: dict[bytes, list[Atoms]] = {}
    for atoms in frames:
        if not atoms.pbc.any() or (atoms.pbc.all() and atoms.calc.results.get("stress") is not None):
            groups.setdefault(atoms.numbers.tobytes(), []).append(atoms)
    rows = [_work(one, other) for group in groups.values() for one, other in pairwise(group)]
    if len(rows) < 4:
        return []
    changes, *works = np.array(rows).T
    if np.sqrt(np.mean(changes**2)) < _FLOOR["energies"]:
        return []
    kinds = [what for what, work in zip(("forces", "stresses"), works, strict=True) if work.any()]
    done = np.stack([work for work in works if work.any()], axis=1) if kinds else np.zeros((len(changes), 0))
    shares = np.linalg.lstsq(done, changes, rcond=None)[0]
    left = np.sqrt(np.mean((changes - done @ shares) ** 2))
    found = []
    for what, share, work in zip(kinds, map(float, shares), done.T, strict=True):
        # less than what is left unexplained, since the arrangements are far apart or the strain is small, tells nothing
        if abs(share) * np.sqrt(np.mean(work**2)) < 2.0 * left or 1 / _PLAUSIBLE < share < _PLAUSIBLE:
            continue
        of_energies = _explained("energies", share).replace(" would", " for energies would") if what == "forces" else ""
        found.append(
            f"energies change by {share:.3g} of the work of the {what}" + (of_energies or _explained(what, 1 / share))
        )
    return found


def _work(one: Atoms, other: Atoms) -> tuple[float, float, float]:
    """Change of the energy from one arrangement to the other, eV, and the work of forces and of stress, half of each end's."""
    change = float(other.calc.results["energy"] - one.calc.results["energy"])
    apart, of_stress, gradient = other.positions - one.positions, 0.0, np.eye(3)
    if one.pbc.all():
        gradient = np.linalg.solve(one.cell.array, other.cell.array)
        apart = other.positions - one.positions @ gradient
        apart -= np.round(apart @ np.linalg.inv(other.cell.array)) @ other.cell.array
        strain = (gradient + gradient.T) / 2 - np.eye(3)
        voigt = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * [1, 1, 1, 2, 2, 2]
        of_stress = sum(
            0.5 * atoms.get_volume() * float(atoms.calc.results["stress"] @ voigt) for atoms in (one, other)
        )
    apart -= apart.mean(axis=0)
    of_forces = sum(0.5 * float((atoms.calc.results["forces"] * apart).sum()) for atoms in (one, other))
    return change, -of_forces, of_stress


def _explained(what: str, ratio: float) -> str:
    """The unit or sign that comes nearest to a ratio, if one does."""
    signs = {"": 1.0, " and the opposite sign": -1.0}
    units = {f"{unit}{sign}": factor * turn for unit, factor in FACTORS[what].items() for sign, turn in signs.items()}
    units["the opposite sign"] = -1.0
    fitting = {unit: abs(np.log(ratio / factor)) for unit, factor in units.items() if ratio / factor > 0}
    best = min(fitting, key=lambda unit: fitting[unit], default="")
    return f"; {best} would explain it" if best and fitting[best] < np.log(1.5) else ""


def _contents(frames: Sequence[Atoms], species: NDArray[np.int64]) -> Floats:
    """Share of each species in each structure, (n, n_species)."""
    return np.array([[np.mean(atoms.numbers == number) for number in species] for atoms in frames]).reshape(
        -1, len(species)
    )


def _energies(frames: Sequence[Atoms]) -> Floats:
    """Energies per atom, eV."""
    return np.array([atoms.calc.results["energy"] / len(atoms) for atoms in frames])
