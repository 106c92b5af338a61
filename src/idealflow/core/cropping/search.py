"""Search for the cell around a centre that relaxation is likeliest to bring into distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.core.cropping.assembly import Rules, assemble_all
from idealflow.core.cropping.contacts import Selection, composition_distance, smallest_distance
from idealflow.core.cropping.crop import Crop, CropSearch
from idealflow.core.cropping.lattice import find_translations
from idealflow.core.cropping.proposals import Box, propose
from idealflow.core.cropping.refusal import nothing_fits
from idealflow.core.cropping.surroundings import Surroundings, heights_of, survey, symbols_to_numbers
from idealflow.core.cropping.vacuum import DEFAULT_VACUUM, find_empty_space, seam_gap
from idealflow.core.protocols import Uncertainty
from idealflow.core.structure import totals_of
from idealflow.errors import InputError

__all__ = ["crop_search", "neutral_table", "vacuum_crop", "whole_frame"]

DEFAULT_MARGIN = 3.0
LEAST_MARGIN = 0.2
CORNER_FACTOR = 1.75

Floats = NDArray[np.float64]


def crop_search(
    u: Uncertainty,
    atoms: Atoms,
    centre: int,
    n_candidates: int = 50,
    rng: np.random.Generator | None = None,
    max_atoms: int = 400,
    composition_weight: float = 20.0,
    volume_weight: float = 20.0,
    size_weight: float = 0.25,
    max_composition_error: float = 0.1,
    min_contact: float | None = None,
    oxidation_states: dict[str, float] | None = None,
    cell_widths: tuple[float, float] | None = None,
    vacuum: float = DEFAULT_VACUUM,
    whole_if_small: bool = True,
    hydrogen_caps: bool = False,
) -> CropSearch:
    """Cut candidate cells around one atom and sort them by how close their shell is to the known.

    The core, all atoms within the model's true cutoff of the centre, is the same in every candidate; what differs is
    where the faces lie and so how the structure meets itself across them. Candidates are drawn along Cartesian axes,
    along the frame's cell, and on translation vectors found around the centre. They are sorted by the mean over the
    shell of log max(1, uncertainty / max(1, its value in the frame)), plus `composition_weight` times the composition error,
    plus `volume_weight` times the relative error of the volume per atom, plus `size_weight` times the relative excess of
    atoms.

    Parameters
    ----------
    u
        Uncertainty model; ``u.cutoff`` is the radius of the core.
    atoms
        The frame; any periodicity.
    centre
        Index of the atom to cut around.
    n_candidates
        How many cells to draw (20 to 100 is useful).
    rng
        Generator; the same state gives the same crops. None: seed 0.
    max_atoms
        Most atoms in a crop. A frame of no more atoms is used whole.
    composition_weight
        Weight of the composition error (a fraction) beside the mean logarithm.
    volume_weight
        Weight of the relative error of the volume per atom, against the frame's around the centre. Where an atom and its copy
        touch across the seam one of them goes: of cells of a liquid nearly all are too thin.
    size_weight
        Weight of the number of atoms beyond the smallest that holds the core (a cube of twice the cutoff), relative to
        that number: a label's cost grows with the cube of the number of atoms.
    max_composition_error
        Hard limit on the composition error, beyond what the frame itself shows around the centre.
    min_contact
        Å; one limit for all pairs. None: per pair of species from the frame's own contacts and covalent radii.
    oxidation_states
        By symbol; if given, every crop is made neutral by removing shell atoms, or refused.
    cell_widths
        Smallest and largest perpendicular width of a cell, Å; None: 2 cutoffs to 2 cutoffs + 3 Å.
    vacuum
        Å of empty space between images where the frame is empty; at least the cutoff is used.
    whole_if_small
        False crops even a frame within the budget (for ablations).
    hydrogen_caps
        Close the covalent bonds that a cell cuts with hydrogen; the model must know hydrogen. Caps are shell atoms with
        parent index -1.

    Returns
    -------
    CropSearch
        Crops, best first; refused candidates in ``.rejected``.

    Raises
    ------
    InputError
        If no candidate holds the core within the budget and the rules; the message gives the numbers.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    widths = check_widths(cell_widths, u.cutoff)
    if len(atoms) <= max_atoms and whole_if_small:
        return CropSearch([whole_frame(u, atoms, centre, vacuum=vacuum)])
    sur = survey(atoms, centre, u.cutoff, CORNER_FACTOR * (widths[1] - u.cutoff) + u.cutoff, min_contact)
    space = find_empty_space(sur)
    translations = find_translations(sur, 2.0 * u.cutoff * 0.98, 1.25 * widths[1])
    charges = None if oxidation_states is None else neutral_table(oxidation_states, atoms)
    limit = max_composition_error + composition_distance(
        sur.numbers[np.linalg.norm(sur.vectors, axis=1) <= widths[1]], sur.composition
    )
    frame_values = CoreValues(u, atoms)
    rules = Rules(max_atoms, limit, charges, max(vacuum, u.cutoff + 0.1), hydrogen_caps)
    # cells drawn larger than the budget would only be refused
    roomy = (max_atoms / sur.density) ** (1.0 / 3.0)
    drawn = (widths[0], min(widths[1], max(widths[0] + LEAST_MARGIN, roomy)))
    boxes = list(propose(sur, translations, n_candidates, drawn, rng, space.normal))
    made, refused = assemble_all(boxes, sur, rules, space, rng)
    if not made and any(one.surface for one in refused):
        # a core that is bulk in a body thinner than any cell, or a surface on a pore narrower than any cell
        strictly = refused
        made, refused = assemble_all(boxes, sur, rules, None, rng)
        made = [replace(one, notes=one.notes | {"surface_rule_waived": 1.0}) for one in made]
        refused = [*strictly, *refused] if made else refused
    weights = Weights(composition_weight, volume_weight, size_weight)
    crops = [
        build(u, sur, one.box, one.sel, one.notes, frame_values, weights, one.caps).with_moments_of(atoms)
        for one in made
    ]
    if not crops:
        raise InputError(nothing_fits(refused, sur, max_atoms, widths))
    return CropSearch(crops, refused)


def check_widths(cell_widths: tuple[float, float] | None, cutoff: float) -> tuple[float, float]:
    """Return the range of widths in Å, refusing one that cannot hold the core."""
    if cell_widths is None:
        return 2.0 * cutoff, 2.0 * cutoff + DEFAULT_MARGIN
    low, high = float(cell_widths[0]), float(cell_widths[1])
    if not 2.0 * cutoff <= high or not low <= high:
        raise InputError(
            f"cell_widths must be (smallest, largest) with the largest at least twice the true cutoff = "
            f"{2 * cutoff:.2f} Å, got ({low}, {high}); widen it or use a descriptor with a smaller r_cut or sigma"
        )
    return max(low, 2.0 * cutoff), high


def neutral_table(oxidation_states: dict[str, float], atoms: Atoms) -> dict[int, float]:
    """Oxidation states by atomic number, complete for the frame's species."""
    charges = symbols_to_numbers(oxidation_states)
    missing = sorted({str(s) for s in atoms.symbols} - set(oxidation_states))
    if missing:
        given = ", ".join(sorted(oxidation_states)) or "none"
        raise InputError(
            f"oxidation_states must name every species of the frame; {', '.join(missing)} missing, got {given}; add them"
        )
    return charges


@dataclass(frozen=True)
class Weights:
    """What counts beside the shell's uncertainty: errors of composition and volume (fractions), relative excess of atoms."""

    composition: float
    volume: float
    size: float


class CoreValues:
    """Uncertainties of atoms in the frame, each computed once."""

    def __init__(self, u: Uncertainty, atoms: Atoms) -> None:
        self._u, self._atoms = u, atoms
        self._known: dict[int, float] = {}

    def __call__(self, indices: NDArray[np.int64]) -> Floats:
        """Return the values (n,) in the frame of the given atoms."""
        new = np.array(sorted({int(i) for i in indices} - set(self._known)), dtype=np.int64)
        if new.size:
            self._known.update(zip(new.tolist(), self._u(self._atoms, new).tolist(), strict=True))
        return np.array([self._known[int(i)] for i in indices])


def build(
    u: Uncertainty,
    sur: Surroundings,
    box: Box,
    sel: Selection,
    notes: dict[str, float],
    frame_values: CoreValues,
    weights: Weights,
    caps: Floats | None = None,
) -> Crop:
    """Make the crop: atoms with the box's corner at the origin, caps last, values, references and figures."""
    numbers = sur.numbers[sel.images]
    atoms = Atoms(numbers=numbers, positions=sel.vectors - box.origin, cell=box.cell, pbc=True)
    parents, core = sur.indices[sel.images], sel.core
    if caps is not None and len(caps):
        atoms += Atoms(f"H{len(caps)}", positions=caps - box.origin)
        parents = np.concatenate([parents, np.full(len(caps), -1)])
        core = np.concatenate([core, np.zeros(len(caps), dtype=bool)])
    values = np.asarray(u(atoms), dtype=np.float64)
    in_frame = np.ones(len(atoms))
    in_frame[parents >= 0] = np.maximum(1.0, frame_values(parents[parents >= 0]))
    error = composition_distance(numbers, sur.composition)
    crop = Crop(
        atoms=atoms,
        core=core,
        parent_indices=parents,
        centre=int(np.flatnonzero(sel.images == 0)[0]),
        in_frame=in_frame,
        values=values,
        composition_error=error,
        min_contact=smallest_distance(atoms),
        kind=box.kind,
        axes=box.axes,
        limits=sur.limits,
        score=0.0,
        notes=notes,
        expected_volume=None if sur.matter is None or "vacuum" in box.axes else len(numbers) / sur.matter,
    )
    # a species never seen is as unknown in every candidate
    judged = np.isfinite(values) & (crop.shell if crop.shell.any() else True)
    ratios = values[judged] / in_frame[judged]
    unknown = float(np.mean(np.log(np.maximum(1.0, ratios)))) if len(ratios) else 0.0
    smallest = sur.density * (2.0 * sur.cutoff) ** 3
    score = unknown + weights.composition * error + weights.volume * abs(crop.volume_error)
    score += weights.size * max(0.0, len(atoms) / smallest - 1.0)
    return replace(crop, score=score)


def whole_frame(u: Uncertainty, atoms: Atoms, centre: int, vacuum: float = DEFAULT_VACUUM) -> Crop:
    """Use the whole frame: the arm of conventional active learning, and any frame within the budget.

    Every atom is core (all of them stand as in the frame), so there is nothing to relax. Directions in which the frame
    is not periodic get empty space. Its charge and spin, if it has any, are the frame's.

    Parameters
    ----------
    u, atoms, centre
        Uncertainty model, frame, index of the centre.
    vacuum
        Å of empty space in directions without periodicity; at least the cutoff is used.
    """
    sur = survey(atoms, centre, u.cutoff, 2.0 * u.cutoff)
    cell = np.asarray(atoms.cell.complete().array, dtype=float)
    vectors = atoms.positions - atoms.positions[centre]
    if np.linalg.det(cell) < 0:
        cell[2] *= -1.0
    origin = -atoms.positions[centre]
    box = Box(cell, origin, ("kept", "kept", "kept"), "whole")
    for axis in np.flatnonzero(~sur.periodic):
        heights = heights_of(box.cell)
        below, above = seam_gap(box.fractional(vectors)[:, axis], heights[axis])
        more = max(vacuum, u.cutoff + 0.1) - below - above
        if more > 0.0:
            # atoms may stand outside a box that does not bound them, so the lower face follows the lowest atom
            box = box.stretched(int(axis), max(0.0, -below), more - max(0.0, -below), kind="vacuum")
        else:
            box = box.stretched(int(axis), 0.0, 0.0, kind="vacuum")
    order = np.concatenate([[centre], np.delete(np.arange(len(atoms)), centre)])
    everything = replace(
        sur, indices=order, numbers=np.asarray(atoms.numbers, dtype=np.int64)[order], vectors=vectors[order]
    )
    rank = np.argsort(order)
    sel = Selection(rank, vectors, np.ones(len(atoms), dtype=bool))
    crop = build(u, everything, box, sel, {}, CoreValues(u, atoms), Weights(0.0, 0.0, 0.0))
    if "vacuum" not in box.axes:
        # the very numbers of the frame, not sums that round
        crop.atoms.set_cell(box.cell)
        crop.atoms.set_positions(atoms.positions)
    crop.atoms.info.update(totals_of(atoms))
    return crop.with_moments_of(atoms)


def vacuum_crop(u: Uncertainty, atoms: Atoms, centre: int, vacuum: float = DEFAULT_VACUUM) -> Crop:
    """Cut out the core alone and put it into empty space: the naive χ of the paper, kept for ablation.

    Parameters
    ----------
    u, atoms, centre
        Uncertainty model, frame, index of the centre.
    vacuum
        Å of empty space around the ball; at least the cutoff is used.
    """
    sur = survey(atoms, centre, u.cutoff, 2.0 * u.cutoff)
    images = np.flatnonzero(np.linalg.norm(sur.vectors, axis=1) <= u.cutoff)
    vectors = sur.vectors[images]
    low, high = vectors.min(axis=0), vectors.max(axis=0)
    gap = max(vacuum, u.cutoff + 0.1)
    box = Box(np.diag(high - low + gap), low - gap / 2, ("vacuum", "vacuum", "vacuum"), "vacuum")
    sel = Selection(images, vectors, np.ones(len(images), dtype=bool))
    return build(u, sur, box, sel, {}, CoreValues(u, atoms), Weights(0.0, 0.0, 0.0)).with_moments_of(atoms)
