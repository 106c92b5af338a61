"""Comparison of a dataset with the labeller: units and signs of a few structures that were labelled again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.labelling import geometry_key

__all__ = ["FACTORS", "Agreement", "chosen", "compared"]

_TOLERANCE = 0.1  # largest difference over the root mean square of the labeller's values; a wrong unit or sign is off by far more
#: smaller differences are never refused, and smaller values tell nothing about units
_FLOORS = {"energies": 0.002, "forces": 0.02, "stresses": 0.002}  # eV/atom, eV/Å, eV/Å³
_OFFSET = 0.01  # eV per atom; a larger offset between the zeros of energy is reported
_UNITS = {"energies": "eV per atom", "forces": "eV/Å", "stresses": "eV/Å³"}
#: 1 eV, 1 eV/Å or 1 eV/Å³ in other units (CODATA 2018)
FACTORS = {
    "energies": {
        "kcal/mol": 23.060548, "kJ/mol": 96.485332, "Hartree": 1 / 27.211386, "Ry": 1 / 13.605693, "meV": 1000.0,
    },
    "forces": {
        "kcal/mol/Å": 23.060548, "kJ/mol/Å": 96.485332, "Hartree/Bohr": 1 / 51.422067, "Ry/Bohr": 1 / 25.711034,
        "Hartree/Å": 1 / 27.211386, "Ry/Å": 1 / 13.605693, "eV/Bohr": 0.52917721, "meV/Å": 1000.0,
    },
    "stresses": {
        "GPa": 160.21766, "kbar": 1602.1766, "bar": 1602176.6, "MPa": 160217.66, "Pa": 1.6021766e11,
        "Hartree/Bohr³": 1 / 183.63153, "Ry/Bohr³": 1 / 91.815766,
    },
}  # fmt: skip


@dataclass
class Agreement:
    """Where a dataset and a labeller agree, disagree, or can not be compared; each entry is a text to show.

    Attributes
    ----------
    agreed
        Quantities that agree, with the root mean square of the differences.
    disagreed
        Quantities that do not agree, with the factor or sign that would explain it.
    unknown
        Quantities that could not be compared, and why.

    Examples
    --------
    See :func:`compared`, which fills one.

    >>> found = Agreement()
    >>> found.unknown.append("stresses were not compared, the dataset gives none for these structures")
    >>> bool(found.disagreed)
    False
    """

    agreed: list[str] = field(default_factory=list)
    disagreed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def chosen(frames: Sequence[Atoms], n: int) -> list[int]:
    """Choose ``n`` structures of a dataset that are worth labelling again, and return their numbers.

    Two methods may differ by a constant energy per species, so energies can be compared only between structures of the same
    composition. Of the most frequent composition (for ``n`` of 4 and more also of the next ones) small structures are chosen,
    between the 10 % and 90 % quantiles of the energy per atom. If these are fewer than ``n``, the smallest others are added.

    Parameters
    ----------
    frames
        Structures with an energy as result.
    n
        How many to choose.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> frames = [bulk("Cu", a=a, cubic=True) for a in (3.4, 3.5, 3.6, 3.7)] + [bulk("Au", cubic=True) * 3]
    >>> for atoms in frames:
    ...     atoms.calc = EMT()
    ...     energy = atoms.get_potential_energy()
    >>> chosen(frames, 2)  # two cells of copper of low and high energy
    [0, 2]
    """
    distinct = list({geometry_key(atoms, {}): i for i, atoms in reversed(list(enumerate(frames)))}.values())[::-1]
    groups: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for i in distinct:
        groups.setdefault(_composition(frames[i]), []).append(i)
    pools = sorted(groups.values(), key=lambda group: (-len(group), group[0]))[: max(1, n // 2)]
    picked: list[int] = []
    for number, pool in enumerate(pools):
        picked += _spread(frames, pool, n // len(pools) + (number < n % len(pools)))
    rest = sorted(set(distinct) - set(picked), key=lambda i: (len(frames[i]), i))
    return sorted([*picked, *rest[: max(0, n - len(picked))]])


def compared(given: Sequence[Atoms], computed: Sequence[Atoms]) -> Agreement:
    """Compare the labels of a dataset with the labeller's own labels of the same structures.

    Energies are compared up to a constant per species, stresses where both have one.

    Parameters
    ----------
    given
        Structures with the dataset's energy (eV), forces (eV/Å) and stress (eV/Å³) as results.
    computed
        The same structures in the same order, with the labeller's results.

    Examples
    --------
    A dataset whose forces are in kcal/mol/Å:

    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.structure import set_label
    >>> computed = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]
    >>> given = [atoms.copy() for atoms in computed]
    >>> for one, other in zip(given, computed):
    ...     other.rattle(0.05, seed=1)
    ...     other.calc = EMT()
    ...     energy = other.get_potential_energy()
    ...     one = set_label(one, energy, 23.060548 * other.get_forces())
    >>> found = compared(given, computed)
    >>> print(found.disagreed[0])
    forces differ by ... eV/Å (root mean square; ...); kcal/mol/Å would explain it, a factor of 23.061
    >>> print(found.agreed[0])
    energies beyond a constant per species to ... eV per atom (of ...)
    >>> print(found.unknown[0])
    stresses were not compared, the dataset gives none for these structures
    """
    found = Agreement()
    sizes = np.array([len(atoms) for atoms in given], dtype=float)
    _compare_energies(found, given, computed, sizes)
    forces = [np.concatenate([atoms.calc.results["forces"].ravel() for atoms in side]) for side in (given, computed)]
    _compare(found, "forces", forces[0], forces[1], {})
    both = [
        (one, other)
        for one, other in zip(given, computed, strict=True)
        if one.calc.results.get("stress") is not None and other.calc.results.get("stress") is not None
    ]
    if not both:
        whose = "dataset" if all(atoms.calc.results.get("stress") is None for atoms in given) else "labeller"
        found.unknown.append(f"stresses were not compared, the {whose} gives none for these structures")
        return found
    stresses = [np.concatenate([pair[side].calc.results["stress"] for pair in both]) for side in (0, 1)]
    volumes = np.repeat([one.get_volume() for one, _ in both], 6)
    _compare(found, "stresses", stresses[0], stresses[1], {"virials in eV": -volumes})
    return found


def _composition(atoms: Atoms) -> tuple[tuple[int, int], ...]:
    """Return the composition as (atomic number, count), counts without a common divisor."""
    numbers, counts = np.unique(atoms.numbers, return_counts=True)
    divisor = gcd(*counts.tolist())
    return tuple((int(number), int(count) // divisor) for number, count in zip(numbers, counts, strict=True))


def _spread(frames: Sequence[Atoms], pool: Sequence[int], n: int) -> list[int]:
    """Choose up to ``n`` small structures of a pool, spread over their energies per atom."""
    largest = 2 * min(len(frames[i]) for i in pool)
    small = [i for i in pool if len(frames[i]) <= largest]
    small = small if len(small) >= n else list(pool)
    small.sort(key=lambda i: (frames[i].calc.results["energy"] / len(frames[i]), i))
    places = np.linspace(0.9 if n == 1 else 0.1, 0.9, n) * (len(small) - 1)
    return sorted({small[round(float(place))] for place in places})


def _compare_energies(
    found: Agreement, given: Sequence[Atoms], computed: Sequence[Atoms], sizes: NDArray[np.float64]
) -> None:
    """Compare energies per atom, up to a constant per species."""
    species = np.unique(np.concatenate([atoms.numbers for atoms in given]))
    contents = np.array([[(atoms.numbers == number).sum() for number in species] for atoms in given]) / sizes[:, None]
    beyond = np.eye(len(given)) - contents @ np.linalg.pinv(contents)
    one, other = (np.array([atoms.calc.results["energy"] for atoms in side]) / sizes for side in (given, computed))
    offset = float(np.mean(one - other))
    if abs(offset) > _OFFSET:
        found.unknown.append(
            f"energies lie {offset:+.4g} eV per atom from the labeller's; labels to come fit the dataset only if both have one "
            "zero of energy"
        )
    if np.linalg.matrix_rank(contents, tol=1e-8) == len(given):
        found.unknown.append(
            "energies were not compared, for that at least two structures of one composition have to be computed"
        )
        return
    _compare(found, "energies", one, other, {"eV per atom instead of eV": 1 / sizes}, lambda values: beyond @ values)


def _compare(
    found: Agreement,
    what: str,
    given: NDArray[np.float64],
    computed: NDArray[np.float64],
    more: dict[str, Any],
    seen: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda values: values,
) -> None:
    """Compare one quantity: ``more`` are further factors that could explain a difference, ``seen`` keeps what can be compared."""
    floor, unit = _FLOORS[what], _UNITS[what]
    right = seen(computed)
    size, miss = _rms(right), _rms(seen(given) - right)
    allowed = max(floor, _TOLERANCE * size)
    beyond = " beyond a constant per species" if what == "energies" else ""
    if miss <= allowed and size > floor:
        found.agreed.append(f"{what}{beyond} to {miss:.2g} {unit} (of {size:.2g})")
        return
    if miss <= allowed:
        found.unknown.append(f"{what} of these structures are too small to tell units or signs ({size:.2g} {unit})")
        return
    text = f"{what}{beyond} differ by {miss:.3g} {unit} (root mean square; the labeller's are {size:.3g})"
    if size <= floor:
        found.disagreed.append(f"{text}, too little to tell by which factor")
        return
    factors: dict[str, Any] = {"the opposite sign": -1.0}
    for name, factor in (FACTORS[what] | more).items():
        factors |= {name: factor, f"{name} and the opposite sign": -factor}
    misses = {name: _rms(seen(given / factor) - right) for name, factor in factors.items()}
    best = min(misses, key=lambda name: misses[name])
    if misses[best] <= allowed:
        factor = float(np.mean(factors[best]))
        found.disagreed.append(f"{text}; {best} would explain it, a factor of {factor:.5g}")
        return
    left = seen(given)
    if not left.any():
        found.disagreed.append(f"{text}; the dataset's are all zero")
        return
    alike = float(left @ right / np.sqrt((left @ left) * (right @ right)))
    if len(left) > 2 and abs(alike) > 0.99:
        found.disagreed.append(f"{text}; a factor of {left @ right / (right @ right):.4g}, no unit's, would explain it")
    else:
        found.disagreed.append(f"{text}; no factor explains it: another method, other settings, or other structures")


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))
