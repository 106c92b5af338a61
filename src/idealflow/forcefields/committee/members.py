"""Who may sit in a committee, and what each member learns from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from idealflow.core import UncertaintyModel
from idealflow.errors import InputError
from idealflow.forcefields.protocol import AtomicForceField, ForceField

__all__ = ["checked_members", "resampled"]


def checked_members(members: Sequence[ForceField], base: UncertaintyModel) -> list[AtomicForceField]:
    """The members, if they can be compared with each other and screened with ``base``.

    Raises
    ------
    InputError
        For fewer than two, force fields without atomic energies, of other species than ``base``, or that see farther.
    """
    if len(members) < 2:
        raise InputError(f"a committee needs at least 2 members, got {len(members)}")
    good: list[AtomicForceField] = []
    for member in members:
        if not isinstance(member, AtomicForceField):
            raise InputError(
                f"force field {member.name!r} cannot be in a committee: it has no method atomic_energies() "
                "(idealflow.forcefields.AtomicForceField)"
            )
        if set(member.species) != set(base.species):
            raise InputError(
                f"members and base must know the same species, got {', '.join(member.species)} and "
                f"{', '.join(base.species)}; make them with the same"
            )
        if member.cutoff > base.cutoff:
            raise InputError(
                f"base must see what the members see: its true cutoff, {base.cutoff:.2f} Å, must be at least theirs, "
                f"{member.cutoff:.2f} Å; raise r_cut or sigma, or lower the force field's cutoff"
            )
        good.append(member)
    return good


def resampled(frames: Sequence[Atoms], rng: np.random.Generator) -> list[Atoms]:
    """As many frames drawn with replacement, and further ones until every species is there."""
    drawn = [frames[i] for i in rng.integers(0, len(frames), len(frames)).tolist()]
    present = {number for atoms in drawn for number in atoms.numbers.tolist()}
    for atoms in frames:
        if not present.issuperset(atoms.numbers.tolist()):
            drawn.append(atoms)
            present.update(atoms.numbers.tolist())
    return drawn
