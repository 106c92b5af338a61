"""Which species a force field knows, and what index each atom of a structure has among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from idealflow.errors import InputError

__all__ = ["KnownSpecies"]


class KnownSpecies:
    """The species of a force field, in order of atomic number.

    Parameters
    ----------
    species
        Chemical symbols, each at least once.

    Raises
    ------
    InputError
        If there are none, or one is no chemical symbol.

    Examples
    --------
    >>> known = KnownSpecies(["O", "Al"])
    >>> known.symbols, known.of(Atoms("Al2O3")).tolist()
    (('O', 'Al'), [1, 1, 0, 0, 0])
    >>> known.of(Atoms("H2O"))
    Traceback (most recent call last):
    idealflow.errors.InputError: species H not among the force field's O, Al; make the force field with ...
    """

    def __init__(self, species: Sequence[str]) -> None:
        if isinstance(species, str) or not species or any(s not in atomic_numbers or s == "X" for s in species):
            raise InputError(f"species must be chemical symbols, at least one, got {species}")
        self.symbols: tuple[str, ...] = tuple(sorted(set(species), key=lambda symbol: atomic_numbers[symbol]))
        self._kind = np.full(len(chemical_symbols), -1, dtype=np.int64)
        self._kind[[atomic_numbers[symbol] for symbol in self.symbols]] = np.arange(len(self.symbols))

    def of(self, atoms: Atoms, seen: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Species index of every atom, (n,).

        Parameters
        ----------
        atoms
            Structure.
        seen : (n_species,)
            Whether each species was in training; others are refused. None allows all.

        Raises
        ------
        InputError
            For a species that is not among these or was not in training, and for positions that are not finite.
        """
        kinds: NDArray[np.int64] = self._kind[atoms.numbers]
        if (kinds < 0).any():
            unknown = sorted({chemical_symbols[z] for z in atoms.numbers[kinds < 0]})
            raise InputError(
                f"species {', '.join(unknown)} not among the force field's {', '.join(self.symbols)}; make the force field "
                "with every species the system holds"
            )
        if seen is not None and not seen[kinds].all():
            names = sorted({self.symbols[k] for k in kinds[~seen[kinds]]})
            raise InputError(
                f"species {', '.join(names)} was in none of the structures the force field was fitted to; fit again with some "
                "that hold it"
            )
        if not np.isfinite(atoms.positions).all():
            bad = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
            raise InputError(f"positions must be finite, atom {bad} is at {atoms.positions[bad].tolist()}")
        return kinds
