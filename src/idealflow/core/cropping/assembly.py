"""From a box to the atoms of a crop: select, keep vacuum, resolve contacts, fill the boundary's holes, make neutral."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.core.cropping.caps import OpenBondError, hydrogen_caps
from idealflow.core.cropping.clusters import Cluster
from idealflow.core.cropping.completion import fill_seam, neutralise, whole_molecules
from idealflow.core.cropping.contacts import Selection, composition_error, drop_contacts, select
from idealflow.core.cropping.crop import Refused
from idealflow.core.cropping.holding import (
    around_anchors,
    drop_dangling,
    drop_loose,
    with_gas_as_asked,
    without_cut_gas,
)
from idealflow.core.cropping.molecules import INCOMPLETE
from idealflow.core.cropping.proposals import Box
from idealflow.core.cropping.surroundings import Surroundings
from idealflow.core.cropping.vacuum import EmptySpace, bodies, keep_vacuum

__all__ = ["Assembled", "Bounds", "assemble_all"]

ENLARGE_STEP = 0.4
ENLARGE_TRIES = 4


class _RefusalError(Exception):
    """A candidate broke a rule; :func:`assemble_all` makes a :class:`Refused` of it."""

    def __init__(self, reason: str, *, surface: bool = False, **figures: Any) -> None:
        super().__init__(reason)
        self.figures = figures
        self.surface = surface


@dataclass(frozen=True)
class Bounds:
    """The rules of a search in numbers, for one frame and centre.

    Attributes
    ----------
    max_atoms : most atoms, caps included
    max_composition_error : largest fraction of atoms that would have to change species
    charges : oxidation state by atomic number, e, if crops are to be neutral
    vacuum : thickness of empty space between images, Å
    caps : whether hydrogen closes the covalent bonds that are cut

    Examples
    --------
    >>> Bounds(max_atoms=400, max_composition_error=0.1, charges=None, vacuum=10.0).caps
    False
    """

    max_atoms: int
    max_composition_error: float
    charges: dict[int, float] | None
    vacuum: float
    caps: bool = False


@dataclass(frozen=True)
class Assembled:
    """A candidate that keeps the rules: a box and its atoms.

    Attributes
    ----------
    box : the cell and where it lies
    sel : its atoms
    notes : plain numbers about how it was made
    caps : (n, 3) positions of hydrogen caps relative to the centre, Å, or None

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> box = Box(np.eye(3) * 10.83, np.full(3, -5.0), ("periodic",) * 3, "cartesian")
    >>> len(Assembled(box, select(sur, box), notes={}).sel.images)
    108
    """

    box: Box
    sel: Selection
    notes: dict[str, float]
    caps: NDArray[np.float64] | None = None


def assemble_all(
    boxes: Sequence[Box | Cluster],
    sur: Surroundings,
    bounds: Bounds,
    space: EmptySpace | None,
    rng: np.random.Generator,
) -> tuple[list[Assembled], list[Refused]]:
    """Turn boxes into candidates with atoms; those that break a rule are listed with the reason.

    A box with empty space in a frame with gas is filled twice: with the molecules that float there, and without them.

    Parameters
    ----------
    boxes
        Cells around the centre, and clusters of its atoms.
    sur
        The centre's surroundings.
    bounds
        What a candidate has to keep.
    space
        Empty space around the centre, for the surface rule. None skips that rule.
    rng
        Source of the random order in which holes at the boundary are filled.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.cropping.surroundings import survey
    >>> sur = survey(bulk("Cu", cubic=True) * 4, centre=0, cutoff=4.0, radius=12.0)
    >>> box = Box(np.eye(3) * 10.83, np.full(3, -5.0), ("periodic",) * 3, "cartesian")
    >>> small = Bounds(max_atoms=100, max_composition_error=0.1, charges=None, vacuum=10.0)
    >>> made, refused = assemble_all([box], sur, small, None, np.random.default_rng(0))
    >>> len(made), refused[0].reason
    (0, 'more than max_atoms=100 atoms')
    """
    made, refused = [], []
    for box in boxes:
        for gas in (True, False) if sur.gas.any() and isinstance(box, Box) else (True,):
            try:
                made.append(
                    assemble(box, sur, bounds, space, rng, gas)
                    if isinstance(box, Box)
                    else finished(box.box, box.sel, {}, sur, bounds)
                )
            except _RefusalError as broken:
                cell, kind = (box, box.cell_kind) if isinstance(box, Box) else (box.box, box.box.cell_kind)
                volume = float(np.linalg.det(cell.cell))
                figures = {"kind": kind, "n_atoms": round(volume * sur.density), "cell": cell.cell.tolist()}
                refused.append(Refused(str(broken), {**figures, **broken.figures}, broken.surface))
                if broken.surface:
                    break
            else:
                if not made[-1].notes.get("gas"):
                    break
    return made, refused


def assemble(
    box: Box, sur: Surroundings, bounds: Bounds, space: EmptySpace | None, rng: np.random.Generator, gas: bool = True
) -> Assembled:
    """Turn a box into the atoms of a crop: select, keep vacuum, resolve contacts, fill the boundary's holes, make neutral.

    With ``gas=False`` molecules in the empty space are left out, but for those of the core.

    Raises
    ------
    _RefusalError
        With the broken rule and its numbers.
    """
    box, sel, notes = part_contacts(box, sur, bounds, space, gas)
    before = len(sel.images)
    sel = fill_seam(sel, box, sur, rng, bounds.charges)
    notes["filled"] = len(sel.images) - before
    box = keep_vacuum(box, sel, sur, bounds.vacuum)
    if "vacuum" in box.axes and (floating := int((sur.gas[sel.images] & ~sel.core).sum())):
        notes["gas"] = floating
    return finished(box, sel, notes, sur, bounds)


def finished(box: Box, sel: Selection, notes: dict[str, float], sur: Surroundings, bounds: Bounds) -> Assembled:
    """Drop what lost its neighbours or its metal, make a selection neutral, and hold it to budget and composition.

    Raises
    ------
    _RefusalError
        With the broken rule and its numbers.
    """
    before = len(sel.images)
    if "vacuum" in box.axes:
        sel = drop_dangling(sel, box, sur)
    sel, core_lost = drop_loose(sel, box, sur)
    if core_lost:
        raise _RefusalError("an adsorbate of the core has lost its metal", n_atoms=before)
    if len(sel.images) < before:
        notes["let_go"] = before - len(sel.images)
    if bounds.charges is not None:
        before = len(sel.images)
        sel, charge = neutralise(sel, sur, bounds.charges)
        if abs(charge) > 1e-6:
            raise _RefusalError(f"net charge {charge:+g} by oxidation states cannot be removed", n_atoms=before)
        notes["neutralised"] = before - len(sel.images)
    n_atoms = len(sel.images)
    if n_atoms > bounds.max_atoms:
        raise _RefusalError(f"more than max_atoms={bounds.max_atoms} atoms", n_atoms=n_atoms)
    error = composition_error(sel.images, sur)
    if error > bounds.max_composition_error:
        reason = f"composition error {error:.3f} exceeds {bounds.max_composition_error:.3f}"
        raise _RefusalError(reason, n_atoms=n_atoms, composition_error=error)
    if not bounds.caps:
        return Assembled(box, sel, notes)
    try:
        caps = hydrogen_caps(sel, box, sur)
    except OpenBondError as broken:
        raise _RefusalError(str(broken), n_atoms=n_atoms) from broken
    notes["caps"] = len(caps)
    if n_atoms + len(caps) > bounds.max_atoms:
        raise _RefusalError(f"more than max_atoms={bounds.max_atoms} atoms with its caps", n_atoms=n_atoms + len(caps))
    return Assembled(box, sel, notes, caps)


def part_contacts(
    box: Box, sur: Surroundings, bounds: Bounds, space: EmptySpace | None, gas: bool
) -> tuple[Box, Selection, dict[str, float]]:
    """Select the atoms of a box and resolve contacts; where two core atoms touch across the boundary, the box grows.

    It grows too where an adsorbate of the core would be left without its metal.
    """
    reached = False
    for attempt in range(ENLARGE_TRIES):
        if np.linalg.norm(box.corners(), axis=1).max() > sur.radius:
            raise _RefusalError("too long: a corner of the cell lies past the search radius")
        sel, intruder, molecular = whole_molecules(select(sur, box), box, sur)
        if intruder is not None:
            box = stretched_along(box, intruder)
            continue
        sel = without_cut_gas(sel, sur)
        n_atoms = len(sel.images)
        if (sur.molecule[sel.images] == INCOMPLETE).any():
            raise _RefusalError("too long: a molecule extends past the search radius", n_atoms=n_atoms)
        if int((gas | bodies(sel, sur)).sum()) > bounds.max_atoms:
            raise _RefusalError(f"more than max_atoms={bounds.max_atoms} atoms", n_atoms=n_atoms)
        shut = keep_vacuum(box, sel, sur, bounds.vacuum)
        if space is not None:
            check_vacuum(shut, space, n_atoms)
        if "vacuum" in shut.axes and sur.gas.any():
            sel = with_gas_as_asked(sel, shut, sur, gas)
            n_atoms = len(sel.images)
        if not reached and drop_loose(sel, shut, sur)[1]:
            box, reached = around_anchors(box, sur), True
            continue
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
    """Enlarge a box along the axis across which two atoms meet; ``shift`` (3,) is the image in which they do."""
    axis = int(np.argmax(np.abs(shift)))
    return box.stretched(axis, ENLARGE_STEP / 2, ENLARGE_STEP / 2)


def check_vacuum(box: Box, space: EmptySpace, n_atoms: int) -> None:
    """The surface rule: refuse a crop of bulk that was given a surface, and a crop of a surface that lost it."""
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
