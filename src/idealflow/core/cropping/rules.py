"""The rules of a crop search: what a candidate may not break, and what makes one better than another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from idealflow.core.cropping.vacuum import DEFAULT_VACUUM
from idealflow.errors import InputError

__all__ = ["CropRules", "CropWeights", "check_widths", "neutral_table"]

DEFAULT_MARGIN = 3.0


@dataclass(frozen=True, kw_only=True)
class CropRules:
    """What every crop of a search keeps; a candidate that breaks a rule is refused.

    Parameters
    ----------
    max_atoms
        Most atoms in a crop. A frame of no more atoms is used whole.
    max_composition_error
        Largest fraction of atoms that would have to change species to give the frame's composition, or that of what lies around
        the centre where it is another, beyond what the frame itself shows there. Beside empty space gas, molecules and adsorbates
        do not count.
    min_contact
        Smallest distance between two atoms, Å, for all pairs of species. None: for each pair of species from the frame's own
        contacts and the covalent radii.
    oxidation_states
        Charges by symbol, e. Given, every crop is made neutral by removing shell atoms, or refused.
    cell_widths
        Smallest and largest perpendicular width of a cell, Å. None: twice the cutoff, and 3 Å more; where the core sees empty
        space, further cells up to 7 Å wider than that.
    vacuum
        Thickness of the empty space between images where the frame is empty, Å; at least the cutoff is used.
    whole_if_small
        False crops even a frame of no more than ``max_atoms`` atoms, as a comparison needs.
    hydrogen_caps
        Close the covalent bonds that a cell cuts with hydrogen, which the uncertainty must then know. Caps are shell atoms whose
        parent index is -1.
    waive_surface_rule
        Where no cell keeps the vacuum that the centre looks into, take one without it, with the note ``surface_rule_waived``.
        False: such a centre is refused.

    Raises
    ------
    InputError
        For a number that no crop could keep.

    Examples
    --------
    >>> rules = CropRules(max_atoms=250, oxidation_states={"Mg": 2, "O": -2})
    >>> rules.max_atoms, rules.vacuum
    (250, 10.0)
    """

    max_atoms: int = 400
    max_composition_error: float = 0.1
    min_contact: float | None = None
    oxidation_states: dict[str, float] | None = None
    cell_widths: tuple[float, float] | None = None
    vacuum: float = DEFAULT_VACUUM
    whole_if_small: bool = True
    hydrogen_caps: bool = False
    waive_surface_rule: bool = False

    def __post_init__(self) -> None:
        """Refuse what no crop could keep."""
        for name, least in (("max_atoms", 1), ("max_composition_error", 0), ("vacuum", 0)):
            value = getattr(self, name)
            if not isinstance(value, (int, float, np.number)) or not value >= least:
                raise InputError(f"{name} must be a number of at least {least}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class CropWeights:
    """What counts in a crop's score beside its shell's uncertainty.

    The score, lower is better, is the mean over the shell of log max(1, uncertainty / level) plus each error times its weight.
    A weight of 20 makes an error of 5 % as bad as a shell e times less known. In a cell with vacuum the same mean over the core
    is added, and the shell's counts half as much again with every vacuum edge after the first, since relaxation mends less of it;
    across an interface both count twice.

    Parameters
    ----------
    composition_weight
        Weight of the composition error, the fraction of atoms that would have to change species.
    volume_weight
        Weight of the relative error of the volume per atom, against the frame's around the centre. Where an atom and its copy
        touch across the boundary one of them goes; without this weight the cells of a liquid are nearly all too thin.
    size_weight
        Weight of the atoms beyond the smallest cell that holds the core (a cube of twice the cutoff), as a fraction of that
        cell's: the cost of a label grows with the cube of the number of atoms. Beside empty space that cell is taken as filled by
        a close-packed crystal, which makes it a fixed price per atom.

    Examples
    --------
    >>> CropWeights(size_weight=0.0)
    CropWeights(composition_weight=20.0, volume_weight=20.0, size_weight=0.0)
    """

    composition_weight: float = 20.0
    volume_weight: float = 20.0
    size_weight: float = 0.25


def check_widths(cell_widths: tuple[float, float] | None, cutoff: float) -> tuple[float, float]:
    """Return the range of perpendicular widths of a cell, Å, of which the smallest is at least twice the cutoff.

    Parameters
    ----------
    cell_widths
        As in :class:`CropRules`.
    cutoff
        True cutoff of the uncertainty, Å.

    Raises
    ------
    InputError
        If no cell of such widths holds the core.

    Examples
    --------
    >>> check_widths(None, 5.0)
    (10.0, 13.0)
    >>> check_widths((8.0, 12.0), 5.0)
    (10.0, 12.0)
    """
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
    """Oxidation states by atomic number instead of symbol, one for every species of the frame.

    Raises
    ------
    InputError
        If a key is no chemical symbol, or a species of the frame has no state.

    Examples
    --------
    >>> from ase.build import bulk
    >>> neutral_table({"Mg": 2, "O": -2}, bulk("MgO", "rocksalt", a=4.21))
    {12: 2.0, 8: -2.0}
    """
    unknown = sorted(set(oxidation_states) - set(atomic_numbers))
    if unknown:
        raise InputError(f"oxidation_states must be keyed by chemical symbols, got {unknown}")
    missing = sorted({str(symbol) for symbol in atoms.symbols} - set(oxidation_states))
    if missing:
        given = ", ".join(sorted(oxidation_states)) or "none"
        raise InputError(
            f"oxidation_states must name every species of the frame; {', '.join(missing)} missing, got {given}; add them"
        )
    return {atomic_numbers[symbol]: float(charge) for symbol, charge in oxidation_states.items()}
