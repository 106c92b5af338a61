"""Checks of the members of a committee, and the training data of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from idealflow.core import UncertaintyModel
from idealflow.errors import InputError
from idealflow.forcefields.protocol import AtomicForceField

__all__ = ["checked_force_field", "checked_members", "resampled"]


def checked_force_field(force_field: object) -> AtomicForceField:
    """Return the force field, if it can tell the energies of single atoms, and learn.

    Raises
    ------
    InputError
        If it has no ``atomic_energies()``, or no parameter that learns.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> checked_force_field(get_force_field("local", species=["Cu"])).name
    'local'
    """
    found = _with_atomic_energies(force_field)
    if getattr(force_field, "n_parameters", 1) == 0:
        raise InputError(
            "all parameters are frozen, so the members of a committee would be the same force field; freeze fewer, or use "
            "uncertainty: soap"
        )
    return found


def _with_atomic_energies(force_field: object) -> AtomicForceField:
    if not isinstance(force_field, AtomicForceField):
        raise InputError(
            f"a committee needs force fields with atomic_energies(), {getattr(force_field, 'name', force_field)!r} has none; use "
            "uncertainty: soap, or add the method (idealflow.forcefields.AtomicForceField)"
        )
    return force_field


def checked_members(members: Sequence[object], base: UncertaintyModel) -> list[AtomicForceField]:
    """Return the members, if they can be compared with each other and work together with the SOAP model ``base``.

    Raises
    ------
    InputError
        For fewer than two members, and for members without atomic energies, that do not know all species of ``base``, or with a
        longer cutoff than its.

    Examples
    --------
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> from idealflow.forcefields import get_force_field
    >>> base = UncertaintyModel(SOAP(["Cu"], r_cut=4.0, n_max=3, l_max=3, sigma=0.4))
    >>> two = [get_force_field("local", species=["Cu"], cutoff=4.0) for _ in range(2)]
    >>> [member.name for member in checked_members(two, base)]
    ['local', 'local']
    """
    if len(members) < 2:
        raise InputError(f"a committee needs at least 2 members, got {len(members)}")
    good: list[AtomicForceField] = []
    for member in map(_with_atomic_energies, members):
        if unknown := [symbol for symbol in base.species if symbol not in member.species]:
            raise InputError(
                f"members must know all species of the base, {', '.join(base.species)}, and one does not know "
                f"{', '.join(unknown)}; make it with them"
            )
        if member.cutoff > base.cutoff:
            raise InputError(
                f"base must see what the members see: its true cutoff, {base.cutoff:.2f} Å, must be at least theirs, "
                f"{member.cutoff:.2f} Å; raise r_cut or sigma, or lower the force field's cutoff"
            )
        good.append(member)
    return good


def resampled(frames: Sequence[Atoms], rng: np.random.Generator) -> list[Atoms]:
    """Draw as many frames as there are, with replacement, and add further ones until every species is among them.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> drawn = resampled([bulk("Cu"), bulk("Ag"), bulk("Au")], np.random.default_rng(1))
    >>> sorted({symbol for atoms in drawn for symbol in atoms.get_chemical_symbols()})
    ['Ag', 'Au', 'Cu']
    """
    drawn = [frames[i] for i in rng.integers(0, len(frames), len(frames)).tolist()]
    present = {number for atoms in drawn for number in atoms.numbers.tolist()}
    for atoms in frames:
        if not present.issuperset(atoms.numbers.tolist()):
            drawn.append(atoms)
            present.update(atoms.numbers.tolist())
    return drawn
