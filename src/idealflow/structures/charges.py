"""Charges of the species of an ionic compound, guessed."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from pymatgen.core import Composition, Element

from idealflow.core.descriptors.neighbours import neighbour_pairs

__all__ = ["ionic_charges", "oxidation_states"]

_LARGEST_FORMULA = 30  # atoms of a reduced formula whose oxidation states are guessed; the guess takes for ever beyond
_DEFECTS = 0.02  # fraction of atoms that may be missing, or too many, in a frame that has a longer formula
_LOOKED_AT = 500  # anions whose surroundings are looked at
_IONIC = 1.4  # least difference of Pauling's electronegativities: SiO2 1.5, AlN 1.4; GaAs 0.4, SiC 0.7


def ionic_charges(atoms: Atoms) -> dict[str, float] | None:
    """Oxidation states where bonds are ionic, so that a cell cut out of the crystal should be neutral; None elsewhere.

    Bonds count as ionic from a difference of 1.4 of Pauling's electronegativities between every cation and every anion on.

    Examples
    --------
    >>> from ase.build import bulk
    >>> ionic_charges(bulk("MgO", "rocksalt", a=4.21)), ionic_charges(bulk("GaAs", "zincblende", a=5.65))
    ({'Mg': 2.0, 'O': -2.0}, None)
    """
    states = oxidation_states(atoms)
    if states is None:
        return None
    cations, anions = ([Element(s).X for s, state in states.items() if sign * state > 0] for sign in (1, -1))
    return states if min(anions) - max(cations) >= _IONIC else None


def oxidation_states(atoms: Atoms) -> dict[str, float] | None:
    """Guess the charges of an ionic compound from its composition (pymatgen); None where that makes no sense.

    It makes none for elements and alloys, structures that are open in some direction, compounds whose anions are bonded to each
    other (molecules), and where the guess is not a whole number for each species.

    Examples
    --------
    >>> from ase.build import bulk
    >>> oxidation_states(bulk("NaCl", "rocksalt", a=5.64))
    {'Cl': -1.0, 'Na': 1.0}
    >>> oxidation_states(bulk("Cu")) is None
    True
    """
    composition = _formula(atoms)
    elements = sorted(symbol.symbol for symbol in composition.elements)
    metals = all(Element(symbol).is_metal for symbol in elements)
    if not atoms.pbc.all() or len(elements) < 2 or metals:
        return None
    guesses = composition.oxi_state_guesses(max_sites=-1)
    if not guesses:
        return None
    states = {symbol: float(guesses[0].get(symbol, 0.0)) for symbol in elements}
    whole = all(state and state.is_integer() for state in states.values())
    return states if whole and not _bonded_anions(atoms, states) else None


def _formula(atoms: Atoms) -> Composition:
    """The reduced formula, of the perfect crystal if that of a frame with vacancies is too long; else an empty one."""
    exact = Composition(atoms.get_chemical_formula()).reduced_composition
    if exact.num_atoms <= _LARGEST_FORMULA:
        return exact
    fractions = {element.symbol: exact.get_atomic_fraction(element) for element in exact}
    for n_atoms in range(len(fractions), _LARGEST_FORMULA + 1):
        counts = {symbol: round(fraction * n_atoms) for symbol, fraction in fractions.items()}
        if all(abs(counts[symbol] / n_atoms - fraction) < _DEFECTS for symbol, fraction in fractions.items()):
            return Composition(counts)
    return Composition({})


def _bonded_anions(atoms: Atoms, states: dict[str, float]) -> bool:
    anions = [i for i, symbol in enumerate(atoms.symbols) if states[symbol] < 0][:_LOOKED_AT]
    reach = 2.4 * float(covalent_radii[atoms.numbers].max())
    offsets, j, _, vectors = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, reach, anions)
    i = np.repeat(anions, np.diff(offsets))
    bond = 1.2 * (covalent_radii[atoms.numbers[i]] + covalent_radii[atoms.numbers[j]])
    same = np.array([states[chemical_symbols[atoms.numbers[each]]] < 0 for each in j], dtype=bool)
    return bool((same & (np.linalg.norm(vectors, axis=1) < bond)).any())
