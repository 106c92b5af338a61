"""From a box to the atoms of a crop: select, keep vacuum, resolve contacts, fill the seam, make neutral."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.caps import OpenBondError, hydrogen_caps
from idealflow.core.cropping.contacts import (
    Selection,
    composition_distance,
    drop_contacts,
    fill_seam,
    neutralise,
    select,
    whole_molecules,
)
from idealflow.core.cropping.crop import Refused
from idealflow.core.cropping.molecules import INCOMPLETE
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import Surroundings
from idealflow.core.cropping.vacuum import EmptySpace, keep_vacuum

__all__ = ["Assembled", "Rules", "assemble_all"]

ENLARGE_STEP = 0.4
ENLARGE_TRIES = 4


class _RefusalError(Exception):
    """A candidate broke a rule (internal; becomes a :class:`Refused`)."""

    def __init__(self, reason: str, *, surface: bool = False, **figures: Any) -> None:
        super().__init__(reason)
        self.figures = figures
        self.surface = surface


@dataclass(frozen=True)
class Rules:
    """Hard rules of a search: atoms at most, composition error at most, charges to cancel, Å of empty space, caps or not."""

    max_atoms: int
    max_composition_error: float
    charges: dict[int, float] | None
    vacuum: float
    caps: bool = False


@dataclass(frozen=True)
class Assembled:
    """A box with its atoms, caps (n, 3) relative to the centre in Å, and plain numbers about how it was made."""

    box: Box
    sel: Selection
    notes: dict[str, float]
    caps: NDArray[np.float64] | None = None


def assemble_all(
    boxes: list[Box], sur: Surroundings, rules: Rules, space: EmptySpace | None, rng: np.random.Generator
) -> tuple[list[Assembled], list[Refused]]:
    """Turn boxes into atoms; what breaks a rule is listed with its reason. `space` None skips the surface rules."""
    made, refused = [], []
    for box in boxes:
        try:
            made.append(assemble(box, sur, rules, space, rng))
        except _RefusalError as broken:
            volume = float(np.linalg.det(box.cell))
            figures = {"kind": box.kind, "n_atoms": round(volume * sur.density), "cell": box.cell.tolist()}
            refused.append(Refused(str(broken), {**figures, **broken.figures}, broken.surface))
    return made, refused


def assemble(
    box: Box, sur: Surroundings, rules: Rules, space: EmptySpace | None, rng: np.random.Generator
) -> Assembled:
    """Turn a box into the atoms of a crop: select, keep vacuum, resolve contacts, fill the seam, make neutral.

    Raises
    ------
    _RefusalError
        With the broken rule and its numbers.
    """
    box, sel, notes = part_contacts(box, sur, rules, space)
    before = len(sel.images)
    sel = fill_seam(sel, box, sur, rng)
    notes["filled"] = len(sel.images) - before
    box = keep_vacuum(box, sel.vectors, sur, rules.vacuum)
    if rules.charges is not None:
        before = len(sel.images)
        sel, charge = neutralise(sel, sur, rules.charges)
        if abs(charge) > 1e-6:
            raise _RefusalError(f"net charge {charge:+g} by oxidation states cannot be removed", n_atoms=before)
        notes["neutralised"] = before - len(sel.images)
    n_atoms = len(sel.images)
    if n_atoms > rules.max_atoms:
        raise _RefusalError(f"more than max_atoms={rules.max_atoms} atoms", n_atoms=n_atoms)
    error = composition_distance(sur.numbers[sel.images], sur.composition)
    if error > rules.max_composition_error:
        reason = f"composition error {error:.3f} exceeds {rules.max_composition_error:.3f}"
        raise _RefusalError(reason, n_atoms=n_atoms, composition_error=error)
    if not rules.caps:
        return Assembled(box, sel, notes)
    try:
        caps = hydrogen_caps(sel, box, sur)
    except OpenBondError as broken:
        raise _RefusalError(str(broken), n_atoms=n_atoms) from broken
    notes["caps"] = len(caps)
    if n_atoms + len(caps) > rules.max_atoms:
        raise _RefusalError(f"more than max_atoms={rules.max_atoms} atoms with its caps", n_atoms=n_atoms + len(caps))
    return Assembled(box, sel, notes, caps)


def part_contacts(
    box: Box, sur: Surroundings, rules: Rules, space: EmptySpace | None
) -> tuple[Box, Selection, dict[str, float]]:
    """Select the atoms of a box and resolve contacts; margins grow where two core atoms touch across the boundary."""
    for attempt in range(ENLARGE_TRIES):
        if np.linalg.norm(box.corners(), axis=1).max() > sur.radius:
            raise _RefusalError("too long: a corner lies beyond the surroundings looked at")
        sel, intruder, molecular = whole_molecules(select(sur, box), box, sur)
        if intruder is not None:
            box = stretched_along(box, intruder)
            continue
        n_atoms = len(sel.images)
        if (sur.molecule[sel.images] == INCOMPLETE).any():
            raise _RefusalError("too long: a molecule reaches beyond the surroundings looked at", n_atoms=n_atoms)
        if n_atoms > rules.max_atoms:
            raise _RefusalError(f"more than max_atoms={rules.max_atoms} atoms", n_atoms=n_atoms)
        shut = keep_vacuum(box, sel.vectors, sur, rules.vacuum)
        if space is not None:
            check_vacuum(shut, space, n_atoms)
        sel, core_contact = drop_contacts(sel, shut, sur)
        if core_contact is None:
            notes = {"removed": n_atoms - len(sel.images), "enlarged": ENLARGE_STEP * attempt}
            return shut, sel, notes | molecular
        box = stretched_along(box, core_contact)
    raise _RefusalError(
        "two core atoms touch across the boundary, or a molecule of the core reaches around it; enlarging the margins did "
        "not part them"
    )


def stretched_along(box: Box, shift: NDArray[np.int64]) -> Box:
    """Enlarge the margins of the axis across which two things meet."""
    axis = int(np.argmax(np.abs(shift)))
    return box.stretched(axis, ENLARGE_STEP / 2, ENLARGE_STEP / 2)


def check_vacuum(box: Box, space: EmptySpace, n_atoms: int) -> None:
    """Refuse a crop of bulk that was given a surface, and a crop of a surface that lost it."""
    has_vacuum = "vacuum" in box.axes
    if space.normal is not None and not has_vacuum:
        raise _RefusalError(
            "the centre looks into empty space, the cell has none: its surface would be lost",
            surface=True,
            n_atoms=n_atoms,
        )
    if space.fraction == 0.0 and has_vacuum:
        raise _RefusalError(
            "the centre's core is bulk, the cell reaches into empty space: it would be given a surface",
            surface=True,
            n_atoms=n_atoms,
        )
