"""A label: energy, forces and stress of one structure by a reference method, in one set of units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from idealflow.errors import LabelError

__all__ = ["Label"]


@dataclass(frozen=True, eq=False)
class Label:
    """Energy, forces and stress of one structure; values that are not finite or of the wrong shape are refused.

    Parameters
    ----------
    energy
        Energy in eV of which the forces are the negative derivative; with smeared electrons this is the free energy.
    forces
        (n_atoms, 3), eV/Å, in the order of the atoms.
    stress
        (6,), eV/Å³, in the order xx, yy, zz, yz, xz, xy and with ASE's sign (positive: the energy falls when the cell
        shrinks); None when the method gives none.
    method
        Name of the method, such as ``"EMT (stands in for DFT)"``.
    seconds
        Wall time the method took, s; None if not known.
    core_seconds
        Processor time if it was measured, else `seconds` × number of cores, s; None if neither is known.
    n_valence_electrons
        Electrons the method treated; None for a method without electrons, or one that does not say.

    Raises
    ------
    LabelError
        With the cause, when a value is not finite or has the wrong shape.

    Examples
    --------
    >>> from idealflow.labelling import Label
    >>> label = Label(energy=-3.7, forces=[[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]], method="PBE")
    >>> label.n_atoms, label.stress
    (2, None)
    >>> Label(energy=float("nan"), forces=[[0.0, 0.0, 0.0]])
    Traceback (most recent call last):
    idealflow.errors.LabelError: energy is not finite: 1 of 1 values are NaN or infinite
    """

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64] | None = None
    method: str = ""
    seconds: float | None = None
    core_seconds: float | None = None
    n_valence_electrons: float | None = None

    def __post_init__(self) -> None:
        energy = _array("energy", self.energy, (), "eV")
        forces = _array("forces", self.forces, (None, 3), "eV/Å")
        stress = None if self.stress is None else _array("stress", self.stress, (6,), "eV/Å³")
        object.__setattr__(self, "energy", float(energy))
        object.__setattr__(self, "forces", forces)
        object.__setattr__(self, "stress", stress)

    @property
    def n_atoms(self) -> int:
        """Number of atoms that have forces."""
        return len(self.forces)

    def with_details(
        self, *, method: str | None = None, seconds: float | None = None, core_seconds: float | None = None
    ) -> Label:
        """Return a copy with another method name or other times (s); an argument that is None leaves its value as it is."""
        details = {"method": method, "seconds": seconds, "core_seconds": core_seconds}
        return replace(self, **{key: value for key, value in details.items() if value is not None})  # type: ignore[arg-type]

    def without_stress(self) -> Label:
        """Return a copy without stress, for structures with an open direction, where stress has no meaning."""
        return replace(self, stress=None)


def _array(name: str, value: ArrayLike | Any, shape: tuple[int | None, ...], unit: str) -> NDArray[np.float64]:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LabelError(f"{name} must be numbers ({unit}), got {str(value)[:80]}") from error
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        wanted = tuple("n_atoms" if n is None else n for n in shape)
        raise LabelError(f"{name} must have shape {wanted}, got {array.shape}")
    if not np.isfinite(array).all():
        raise LabelError(
            f"{name} is not finite: {int((~np.isfinite(array)).sum())} of {array.size} values are NaN or infinite"
        )
    array.setflags(write=False)
    return array
