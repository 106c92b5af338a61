"""Energy, forces and stress of structures, found under the names that different programs give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from idealflow.core.structure import set_label
from idealflow.errors import InputError
from idealflow.workflow.jobs.progress import note

__all__ = ["DatasetKey", "labelled"]

DatasetKey = Literal["energy", "forces", "stress", "virial"]

#: names that other programs (MACE, QUIP, GPUMD) use beside ASE's, in lower case
_OTHERS: dict[DatasetKey, frozenset[str]] = {
    "energy": frozenset({"ref_energy", "dft_energy"}),
    "forces": frozenset({"force", "ref_forces", "ref_force", "dft_forces", "dft_force"}),
    "stress": frozenset({"ref_stress", "dft_stress"}),
    "virial": frozenset({"virials", "ref_virial", "ref_virials", "dft_virial", "dft_virials"}),
}
_PLAIN: dict[DatasetKey, tuple[str, ...]] = {"energy": ("energy", "free_energy")}
_NEEDED: tuple[DatasetKey, ...] = ("energy", "forces")


def labelled(frames: Sequence[Atoms], path: Path, keys: Mapping[DatasetKey, str] | None = None) -> list[Atoms]:
    """Copy structures with only energy (eV), forces (eV/Å) and, where known, stress (eV/Å³, ASE's sign) as results.

    The user is told (:func:`~idealflow.workflow.jobs.progress.note`) where anything else than ASE's energy, forces and stress was
    taken: other names, ``free_energy`` in place of ``energy`` (the forces are its derivative), a stress made from a virial, a
    stress left out.

    Parameters
    ----------
    frames
        As read from ``path``: results of their calculators, and what ASE puts into ``info`` and ``arrays``.
    path
        Named in messages.
    keys
        Names under which energy, forces, stress or virial are taken, whatever other names there are.

    Raises
    ------
    InputError
        If energy or forces are missing, not finite or of the wrong shape, or two names have different values.

    Examples
    --------
    A structure as MACE's training files have it:

    >>> from ase.build import bulk
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.info["REF_energy"], atoms.arrays["REF_forces"] = -14.9, np.zeros((4, 3))
    >>> from idealflow.workflow.jobs.progress import noted
    >>> with noted() as notes:
    ...     made = labelled([atoms], Path("cells.xyz"))
    >>> made[0].get_potential_energy()
    -14.9
    >>> notes
    ['cells.xyz: energy from `REF_energy`, forces from `REF_forces`']
    """
    reader = _Reader(frames, path, dict(keys or {}))
    reader.announce()
    return [reader.labelled(i, atoms) for i, atoms in enumerate(frames)]


class _Reader:
    """Reads the labels of one dataset, under the names that it uses."""

    def __init__(self, frames: Sequence[Atoms], path: Path, keys: dict[DatasetKey, str]) -> None:
        self._frames, self._path = frames, path
        present = {name for atoms in frames for name in _names(atoms)}
        unknown = sorted(set(keys.values()) - present)
        if unknown:
            raise InputError(
                f"keys: no structure of {path} has {unknown[0]!r}; it has {', '.join(sorted(present)) or 'none at all'}"
            )
        self.names: dict[DatasetKey, str | None] = {key: self._name(key, keys, present) for key in _OTHERS}
        if "stress" in keys:
            self.names["virial"] = None
        elif "virial" in keys:
            self.names["stress"] = None
        free = [("free_energy" in _names(atoms)) for atoms in frames]
        self._free = "energy" not in keys and self.names["energy"] in _PLAIN["energy"] and any(free)
        self._n_free = sum(free)

    def _name(self, key: DatasetKey, keys: dict[DatasetKey, str], present: set[str]) -> str | None:
        """Choose the name of one quantity: the given one, else ASE's, else another program's; None if there is none."""
        if key in keys:
            return keys[key]
        others = sorted(name for name in present if name.lower() in _OTHERS[key])
        plain = next((name for name in _PLAIN.get(key, (key,)) if name in present), None)
        found = [*([] if plain is None else [plain]), *others]
        for other in found[1:]:
            if not all(_same(_value(atoms, found[0]), _value(atoms, other)) for atoms in self._frames):
                raise InputError(
                    f"{self._path} has {found[0]!r} and {other!r}, which differ; say which is meant, e.g. bootstrap.keys: "
                    f"{{{key}: {found[0]}}}"
                )
        return found[0] if found else None

    def announce(self) -> None:
        """Note what the user may not expect."""
        odd = {key: name for key, name in self.names.items() if name not in (None, key)}
        if odd:
            note("dataset", f"{self._path.name}: " + ", ".join(f"{key} from `{name}`" for key, name in odd.items()))
        if self._free:
            both = [atoms for atoms in self._frames if {"energy", "free_energy"} <= _names(atoms)]
            apart = max(
                (abs(_value(atoms, "free_energy") - _value(atoms, "energy")) / len(atoms) for atoms in both), default=0
            )
            some = (
                ""
                if self._n_free == len(self._frames)
                else f" where there is one ({self._n_free} of {len(self._frames)})"
            )
            if apart > 0 or some:
                note(
                    "dataset",
                    f"{self._path.name}: energy from `free_energy`{some}, of which the forces are the derivative; it differs "
                    f"from `energy` by up to {1000 * apart:.1f} meV per atom",
                )
        self._announce_stress()

    def _announce_stress(self) -> None:
        sources = [self._stress_source(atoms) for atoms in self._frames]
        if n := sources.count("virial"):
            note("dataset", f"{self._path.name}: stress of {n} structures from the virial (eV), as −virial / volume")
        if n := sources.count("open"):
            note(
                "dataset",
                f"{self._path.name}: stress of {n} structures that are not periodic in all directions is left out, their "
                "volume has no meaning",
            )
        if (n := sources.count("none")) and (with_stress := sources.count("stress") + sources.count("virial")):
            note(
                "dataset",
                f"{self._path.name}: {with_stress} of {len(sources)} structures have a stress; from the other {n} "
                "energy and forces alone are learned",
            )

    def _stress_source(self, atoms: Atoms) -> Literal["stress", "virial", "open", "none"]:
        """Tell where a structure's stress comes from."""
        stress, virial = (
            None if self.names[key] is None else _value(atoms, str(self.names[key])) for key in ("stress", "virial")
        )
        if stress is None and virial is None:
            return "none"
        if not (atoms.pbc.all() and atoms.cell.rank == 3):
            return "open"
        return "virial" if stress is None else "stress"

    def labelled(self, number: int, atoms: Atoms) -> Atoms:
        """Return a copy of one structure with its label."""
        energy, forces = self._energy(atoms), _value(atoms, self.names["forces"] or "forces")
        missing = [name for name, value in zip(_NEEDED, (energy, forces), strict=True) if value is None]
        if missing:
            raise InputError(
                f"structure {number} of {self._path} has no {' and no '.join(missing)}; every structure of a dataset needs "
                "both (eV and eV/Å); if they have other names there, give them in bootstrap.keys. It has "
                f"{', '.join(sorted(_names(atoms))) or 'none at all'}"
            )
        made = atoms.copy()
        made.set_constraint()  # forces are learned on fixed atoms, too
        return set_label(
            made,
            float(self._checked(number, "energy", energy, ())),
            self._checked(number, "forces", forces, (len(atoms), 3)),
            self._stress(number, atoms),
        )

    def _energy(self, atoms: Atoms) -> Any:
        free = _value(atoms, "free_energy") if self._free else None
        return _value(atoms, self.names["energy"] or "energy") if free is None else free

    def _stress(self, number: int, atoms: Atoms) -> NDArray[np.float64] | None:
        source = self._stress_source(atoms)
        if source not in ("stress", "virial"):
            return None
        voigt = self._voigt(number, source, _value(atoms, str(self.names[source])))
        if source == "virial":
            return -voigt / float(atoms.get_volume())
        virial = None if self.names["virial"] is None else _value(atoms, str(self.names["virial"]))
        if virial is not None:
            other = -self._voigt(number, "virial", virial) / atoms.get_volume()
            if not np.allclose(voigt, other, rtol=1e-3, atol=1e-4):
                raise InputError(
                    f"structure {number} of {self._path} has a stress and a virial, and the stress is not −virial / volume; "
                    f"say which is meant, e.g. bootstrap.keys: {{stress: {self.names['stress']}}}"
                )
        return voigt

    def _voigt(self, number: int, name: str, value: Any) -> NDArray[np.float64]:
        """Return the components xx, yy, zz, yz, xz, xy, from nine or from six in ASE's order."""
        array = np.asarray(value, dtype=np.float64)
        if array.shape == (6,) and name == "stress":
            return self._checked(number, name, array, (6,))
        if array.size != 9:
            raise InputError(
                f"the {name} of structure {number} of {self._path} must have nine components, got {array.size}, of which the "
                "order is not known"
            )
        full = self._checked(number, name, array.reshape(3, 3), (3, 3))
        return np.asarray(full_3x3_to_voigt_6_stress((full + full.T) / 2))

    def _checked(self, number: int, name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
        array = np.asarray(value, dtype=np.float64)
        if array.shape != shape or not np.isfinite(array).all():
            what = f"the shape {array.shape}" if array.shape != shape else "values that are not finite"
            raise InputError(
                f"the {name} of structure {number} of {self._path} must be {shape} finite numbers, got {what}"
            )
        return array


def _names(atoms: Atoms) -> set[str]:
    results = {} if atoms.calc is None else {name for name, value in atoms.calc.results.items() if value is not None}
    return {*results, *atoms.info, *(set(atoms.arrays) - {"numbers", "positions"})}


def _value(atoms: Atoms, name: str) -> Any:
    """Return the value of a name among a structure's results, ``info`` and ``arrays``, or None."""
    for place in ({} if atoms.calc is None else atoms.calc.results, atoms.info, atoms.arrays):
        if place.get(name) is not None:
            return place[name]
    return None


def _same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return True
    one, other = np.ravel(one), np.ravel(other)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-6, atol=1e-6))
