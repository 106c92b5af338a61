"""Search for the cell around a centre whose shell is likeliest to be relaxed into distribution, and the two other ways to cut."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core.cropping.assembly import Assembled, Bounds, assemble_all
from idealflow.core.cropping.build import FrameValues, build
from idealflow.core.cropping.clusters import Cluster, clusters
from idealflow.core.cropping.composition import composition_of, judged_locally
from idealflow.core.cropping.contacts import Selection, composition_distance
from idealflow.core.cropping.crop import Crop, CropSearch, Refused
from idealflow.core.cropping.interfaces import interfaces
from idealflow.core.cropping.lattice import find_translations
from idealflow.core.cropping.proposals import Box, propose
from idealflow.core.cropping.refusal import nothing_fits
from idealflow.core.cropping.rules import CropRules, CropWeights, check_widths, neutral_table
from idealflow.core.cropping.surroundings import Surroundings, survey
from idealflow.core.cropping.vacuum import DEFAULT_VACUUM, LEAST_FRACTION, EmptySpace, find_empty_space, seam_gap
from idealflow.core.protocols import Uncertainty
from idealflow.core.rules import with_single_rules
from idealflow.core.structure import totals_of
from idealflow.errors import InputError

__all__ = ["crop_search", "vacuum_crop", "whole_frame"]

LEAST_MARGIN = 0.2
CORNER_FACTOR = 1.75
#: how much wider than others cells are drawn where the core sees empty space, at least and at most, Å
LEAST_WIDER, MOST_WIDER = 1.5, 4.0

#: one cell that is not compared with others needs no score
_NO_WEIGHTS = CropWeights(composition_weight=0.0, volume_weight=0.0, size_weight=0.0)


def crop_search(
    u: Uncertainty,
    atoms: Atoms,
    centre: int,
    n_candidates: int = 50,
    rng: np.random.Generator | None = None,
    *,
    rules: CropRules | None = None,
    weights: CropWeights | None = None,
    **single: Any,
) -> CropSearch:
    """Cut candidate cells around one atom and sort them by how well their shells are known.

    This makes the crop χ̃ of one environment (Kong et al.). The core, all atoms within the uncertainty's true cutoff of the
    centre, is the same in every candidate; what differs is where the six faces lie, and so how the structure meets itself across
    them. Candidates are drawn along Cartesian axes, along the frame's cell, and on translation vectors found around the centre.
    The best has the lowest score, see :class:`CropWeights`; an atom's level in it is max(1, its uncertainty in the frame).

    Parameters
    ----------
    u
        The uncertainty; ``u.cutoff`` is the radius of the core, Å.
    atoms
        The frame; any periodicity.
    centre
        Index of the atom to cut around.
    n_candidates
        How many cells to draw (the paper: 20 to 100).
    rng
        Source of random numbers; the same state gives the same crops. None: seed 0.
    rules
        What every crop keeps. None: ``CropRules()``.
    weights
        What counts in the score beside the shell's uncertainty. None: ``CropWeights()``.
    **single
        Single fields of ``rules`` and ``weights`` by name, as in ``max_atoms=250``.

    Returns
    -------
    CropSearch
        Crops, best first; refused candidates in ``.rejected``.

    Raises
    ------
    InputError
        If no candidate holds the core within the rules (the message says what to change), if a rule is unknown or impossible, or
        if ``centre`` is no atom of the frame.

    Examples
    --------
    An atom beside a vacancy, seen by an uncertainty that knows the crystal:

    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP, UncertaintyModel
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> crystal.rattle(0.1, seed=1)
    >>> u = UncertaintyModel.fit([crystal], SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3))
    >>> frame = bulk("Cu", cubic=True) * 4
    >>> del frame[100]
    >>> crops = crop_search(u, frame, 99, n_candidates=5, rules=CropRules(max_atoms=150))
    >>> crops[0].atoms.pbc.all() and len(crops[0].atoms) <= 150
    True
    >>> len(crop_search(u, frame, 99, n_candidates=5, max_atoms=150)) == len(crops)
    True
    """
    rules, weights = with_single_rules("crop_search", single, (rules, CropRules), (weights, CropWeights))
    rng = np.random.default_rng(0) if rng is None else rng
    widths = check_widths(rules.cell_widths, u.cutoff)
    if len(atoms) <= rules.max_atoms and rules.whole_if_small:
        return CropSearch([whole_frame(u, atoms, centre, vacuum=rules.vacuum)])
    sur = survey(atoms, centre, u.cutoff, _radius(widths, u.cutoff), rules.min_contact)
    space = find_empty_space(sur)
    open_here = not space.afloat and space.fraction >= LEAST_FRACTION
    wide = (widths[0] + LEAST_WIDER, widths[1] + MOST_WIDER) if open_here and rules.cell_widths is None else None
    if wide is not None:
        sur = survey(atoms, centre, u.cutoff, _radius(wide, u.cutoff), rules.min_contact)
    if space.afloat:
        sur = sur.gas_alone()
    sur = judged_locally(sur, widths[1], open_here)
    translations = find_translations(sur, 2.0 * u.cutoff * 0.98, 1.25 * widths[1])
    bounds = _bounds_here(rules, u.cutoff, atoms, sur, widths)
    # cells drawn larger than the budget would only be refused
    roomy = (rules.max_atoms / sur.density) ** (1.0 / 3.0)
    drawn = (widths[0], min(widths[1], max(widths[0] + LEAST_MARGIN, roomy)))
    boxes: list[Box | Cluster] = list(propose(sur, translations, n_candidates, drawn, rng, space.normal))
    if wide is not None:
        translations = find_translations(sur, wide[0] * 0.98, 1.25 * wide[1])
        boxes += propose(sur, translations, max(1, n_candidates // 3), wide, rng, space.normal)
    if not (space.afloat or open_here or sur.kept.any()):
        boxes += interfaces(sur, translations, max(1, n_candidates // 5), bounds.vacuum, rng)
    if open_here and not rules.hydrogen_caps:
        boxes += clusters(sur, max(1, n_candidates // 5), bounds.vacuum, rng)
    made, refused = _assemble(boxes, sur, bounds, None if space.afloat else space, rng, rules.waive_surface_rule)
    if not made:
        raise InputError(nothing_fits(refused, sur, rules.max_atoms, widths))
    frame_values = FrameValues(u, atoms)
    # all atoms of all candidates at once: the frame, which may be large, is sorted into bins a single time
    frame_values(np.unique(np.concatenate([sur.indices[one.sel.images] for one in made])))
    crops = [build(u, sur, one, frame_values, weights).with_moments_of(atoms) for one in made]
    return CropSearch(crops, refused)


def _radius(widths: tuple[float, float], cutoff: float) -> float:
    """How far to look for cells of such widths, Å."""
    return CORNER_FACTOR * (widths[1] - cutoff) + cutoff


def _assemble(
    boxes: list[Box | Cluster],
    sur: Surroundings,
    bounds: Bounds,
    space: EmptySpace | None,
    rng: np.random.Generator,
    waive: bool,
) -> tuple[list[Assembled], list[Refused]]:
    """Fill the boxes by the surface rule; where none keeps it, by as much of it as some do."""
    made, refused = assemble_all(boxes, sur, bounds, space, rng)
    if made or space is None or not any(one.surface for one in refused):
        return made, refused
    if space.normal is None:
        # films thinner than any cell: a cell of their inside may show the faces that they have
        made, again = assemble_all(boxes, sur, bounds, None, rng)
        note = "reaches_surface"
    elif waive:
        made, again = assemble_all(boxes, sur, bounds, None, rng)
        note = "surface_rule_waived"
    if not made:
        return [], refused
    return [replace(one, notes=one.notes | {note: 1.0}) for one in made], [*refused, *again]


def _bounds_here(
    rules: CropRules, cutoff: float, atoms: Atoms, sur: Surroundings, widths: tuple[float, float]
) -> Bounds:
    """Put the rules into numbers for this frame and centre."""
    distance = np.linalg.norm(sur.vectors, axis=1)
    # what the frame itself shows around the centre; or, where that is the measure, in the core, which every crop has
    own = sur.numbers[
        sur.judged & (distance <= (widths[1] if sur.composition == composition_of(atoms.numbers) else cutoff))
    ]
    excess = composition_distance(own, sur.composition) if len(own) else 0.0
    return Bounds(
        max_atoms=rules.max_atoms,
        max_composition_error=rules.max_composition_error + excess,
        charges=None if rules.oxidation_states is None else neutral_table(rules.oxidation_states, atoms),
        vacuum=max(rules.vacuum, cutoff + 0.1),
        caps=rules.hydrogen_caps,
    )


def whole_frame(u: Uncertainty, atoms: Atoms, centre: int, vacuum: float = DEFAULT_VACUUM) -> Crop:
    """Use the whole frame Ω as a crop: what conventional active learning does, and what a frame within the budget is spared.

    Every atom is core and stands as in the frame, so there is nothing to relax. Directions in which the frame is not periodic get
    empty space. Moments, charge and spin are the frame's.

    Parameters
    ----------
    u
        The uncertainty.
    atoms
        The frame.
    centre
        Index of the uncertain atom.
    vacuum
        Thickness of the empty space in directions without periodicity, Å; at least the cutoff is used.

    Raises
    ------
    InputError
        If ``centre`` is no atom of the frame, or positions or cell are not finite.

    Examples
    --------
    >>> from ase.build import molecule
    >>> class Known:
    ...     cutoff = 4.0
    ...     def __call__(self, atoms, indices=None):
    ...         return np.ones(len(atoms) if indices is None else len(indices))
    >>> crop = whole_frame(Known(), molecule("H2O"), centre=0)
    >>> crop.cell_kind, crop.axes, bool(crop.core.all())
    ('whole', ('vacuum', 'vacuum', 'vacuum'), True)
    """
    sur = survey(atoms, centre, u.cutoff, 2.0 * u.cutoff)
    cell = np.asarray(atoms.cell.complete().array, dtype=float)
    vectors = atoms.positions - atoms.positions[centre]
    if np.linalg.det(cell) < 0:
        cell[2] *= -1.0
    origin = -atoms.positions[centre]
    box = Box(cell, origin, ("kept", "kept", "kept"), "whole")
    for axis in np.flatnonzero(~sur.periodic):
        below, above = seam_gap(box.fractional(vectors)[:, axis], box.heights[axis])
        more = max(vacuum, u.cutoff + 0.1) - below - above
        if more > 0.0:
            # along an open direction atoms may stand outside the frame's cell: the lower face follows the lowest atom
            box = box.stretched(int(axis), max(0.0, -below), more - max(0.0, -below), name="vacuum")
        else:
            box = box.stretched(int(axis), 0.0, 0.0, name="vacuum")
    order = np.concatenate([[centre], np.delete(np.arange(len(atoms)), centre)])
    everything = replace(
        sur,
        indices=order,
        numbers=np.asarray(atoms.numbers, dtype=np.int64)[order],
        vectors=vectors[order],
        judged=np.ones(len(atoms), dtype=bool),
    )
    rank = np.argsort(order)
    sel = Selection(rank, vectors, np.ones(len(atoms), dtype=bool))
    crop = build(u, everything, Assembled(box, sel, {}), FrameValues(u, atoms), _NO_WEIGHTS)
    if "vacuum" not in box.axes:
        # exactly the frame's coordinates: adding and subtracting the origin has rounded them
        crop.atoms.set_cell(box.cell)
        crop.atoms.set_positions(atoms.positions)
    crop.atoms.info.update(totals_of(atoms))
    return crop.with_moments_of(atoms)


def vacuum_crop(u: Uncertainty, atoms: Atoms, centre: int, vacuum: float = DEFAULT_VACUUM) -> Crop:
    """Cut out the core alone and put it into empty space: the paper's naive crop χ, kept for comparison.

    Parameters
    ----------
    u
        The uncertainty; ``u.cutoff`` is the radius of the ball, Å.
    atoms
        The frame.
    centre
        Index of the uncertain atom.
    vacuum
        Thickness of the empty space between the ball and its images, Å; at least the cutoff is used.

    Raises
    ------
    InputError
        If ``centre`` is no atom of the frame, or positions or cell are not finite.

    Examples
    --------
    >>> from ase.build import bulk
    >>> class Known:
    ...     cutoff = 3.0
    ...     def __call__(self, atoms, indices=None):
    ...         return np.ones(len(atoms) if indices is None else len(indices))
    >>> crop = vacuum_crop(Known(), bulk("Cu", cubic=True), centre=0)
    >>> len(crop.atoms), crop.axes
    (13, ('vacuum', 'vacuum', 'vacuum'))
    """
    sur = survey(atoms, centre, u.cutoff, 2.0 * u.cutoff)
    images = np.flatnonzero(np.linalg.norm(sur.vectors, axis=1) <= u.cutoff)
    vectors = sur.vectors[images]
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    gap = max(vacuum, u.cutoff + 0.1)
    box = Box(np.diag(high - low + gap), low - gap / 2, ("vacuum", "vacuum", "vacuum"), "vacuum")
    sel = Selection(images, vectors, np.ones(len(images), dtype=bool))
    crop = build(u, sur, Assembled(box, sel, {}), FrameValues(u, atoms), _NO_WEIGHTS)
    return crop.with_moments_of(atoms)
