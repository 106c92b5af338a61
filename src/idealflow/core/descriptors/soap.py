"""SOAP descriptors equal to DScribe's (``rbf="gto"``), with the reverse pass of any scalar of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray

from idealflow.core.descriptors.basis import gto_basis, harmonic_norms, radial_table
from idealflow.core.descriptors.kernel import (
    density,
    density_reverse,
    power_spectrum,
    power_spectrum_reverse,
    scatter,
)
from idealflow.core.descriptors.neighbours import NeighbourGrid, Pairs
from idealflow.errors import InputError

__all__ = ["SOAP"]

_CHUNK = 1024
_LANES = 8

Float = NDArray[np.float64]


class SOAP:
    """Smooth overlap of atomic positions: the rotation-invariant power spectrum of each atom's neighbour density.

    Parameters
    ----------
    species
        Chemical symbols (or atomic numbers) that may occur; kept sorted by atomic number.
    r_cut
        Radius of the basis, Å; above 1.
    n_max, l_max
        Radial functions, and highest angular degree.
    sigma
        Width of the Gaussian at every atom, Å.
    dtype
        ``float32`` evaluates radial functions and densities in single precision (1e-6 relative); results are float64.

    Attributes
    ----------
    cutoff
        Å; DScribe's true one: neighbours count up to ``r_cut + σ sqrt(−2 ln 0.001)`` = r_cut + 3.717 σ, hard.
    n_features
        Length of a descriptor.
    """

    def __init__(
        self, species: Sequence[str | int], r_cut: float, n_max: int, l_max: int, sigma: float, dtype: str = "float64"
    ) -> None:
        numbers = sorted({_number(entry) for entry in species})
        for name, value, rule, good in (
            ("species", species, "not be empty", len(numbers) > 0),
            ("r_cut", r_cut, "exceed 1 Å", np.isfinite(r_cut) and r_cut > 1.0),
            ("n_max", n_max, "be a whole number, at least 1", int(n_max) == n_max and n_max >= 1),
            ("l_max", l_max, "be a whole number, at least 0", int(l_max) == l_max and l_max >= 0),
            ("sigma", sigma, "be positive, in Å", np.isfinite(sigma) and sigma > 0.0),
            ("dtype", dtype, "be float64 or float32", dtype in ("float64", "float32")),
        ):
            if not good:
                raise InputError(f"{name} must {rule}, got {value!r}")
        self.numbers = np.array(numbers)
        self.species = tuple(chemical_symbols[z] for z in numbers)
        self.r_cut, self.n_max, self.l_max, self.sigma, self.dtype = (
            float(r_cut),
            int(n_max),
            int(l_max),
            float(sigma),
            dtype,
        )
        self.cutoff = self.r_cut + self.sigma * float(np.sqrt(-2.0 * np.log(0.001)))
        n = len(numbers)
        pairs_same, pairs_other = self.n_max * (self.n_max + 1) // 2, self.n_max**2
        self.n_features = (self.l_max + 1) * (n * pairs_same + n * (n - 1) // 2 * pairs_other)
        self._pad = -(-self.n_max // _LANES) * _LANES
        exponents, coefficients = gto_basis(self.r_cut, self.n_max, self.l_max, self.sigma)
        self._tables = {
            single: radial_table(exponents, coefficients, self.cutoff**2, self._pad, single=single)
            for single in {False, dtype == "float32"}
        }
        self._norms = harmonic_norms(self.l_max)
        self._kind = np.full(len(chemical_symbols), -1, dtype=np.int64)
        self._kind[self.numbers] = np.arange(n)

    def to_dict(self) -> dict[str, Any]:
        """Settings, by which an equal SOAP can be made: ``SOAP(**settings)``."""
        return {
            "species": list(self.species), "r_cut": self.r_cut, "n_max": self.n_max, "l_max": self.l_max,
            "sigma": self.sigma, "dtype": self.dtype,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SOAP:
        """Rebuild from :meth:`to_dict`."""
        return cls(**data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SOAP) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(map(str, self.to_dict().values())))

    def __repr__(self) -> str:
        return f"SOAP({', '.join(f'{key}={value!r}' for key, value in self.to_dict().items())})"

    def kinds(self, atoms: Atoms) -> NDArray[np.int64]:
        """Index in ``species`` of every atom, (n_atoms,).

        Raises
        ------
        InputError
            For a species outside ``species`` or positions that are not finite.
        """
        kinds: NDArray[np.int64] = self._kind[atoms.numbers]
        if (kinds < 0).any():
            unknown = sorted({chemical_symbols[z] for z in atoms.numbers[kinds < 0]})
            raise InputError(
                f"species {', '.join(unknown)} not among the descriptor's {', '.join(self.species)}; add them"
            )
        bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
        if bad.size:
            raise InputError(f"positions must be finite, atom {bad[0]} is at {atoms.positions[bad[0]].tolist()}")
        return kinds

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None) -> Float:
        """Descriptors of all atoms, or of those at ``indices``: (n, n_features)."""
        chosen = self._chosen(atoms, indices)
        out = np.empty((len(chosen), self.n_features))
        for part, values in self.chunks(atoms, chosen):
            out[part] = values
        return out

    def chunks(self, atoms: Atoms, indices: ArrayLike | None = None) -> Iterator[tuple[slice, Float]]:
        """Descriptors in blocks of bounded size: (slice of ``indices``, (n_block, n_features))."""
        chosen, kinds = self._chosen(atoms, indices), self.kinds(atoms)
        grid = NeighbourGrid(atoms.positions, np.asarray(atoms.cell), atoms.pbc, self.cutoff)
        for start in range(0, len(chosen), _CHUNK):
            block = chosen[start : start + _CHUNK]
            coefficients, _ = self._density(grid.pairs(block), kinds, kinds[block], single=self.dtype == "float32")
            yield slice(start, start + len(block)), self._features(coefficients)

    def pull_back(
        self,
        atoms: Atoms,
        indices: ArrayLike | None,
        adjoint: Callable[[slice, Float], Float],
    ) -> tuple[Float, Float]:
        """Gradient of a scalar of the descriptors with respect to positions and cell, in one pass.

        Parameters
        ----------
        adjoint
            Called once per block with its slice of ``indices`` and its descriptors; returns dU/d(descriptors), same shape.

        Returns
        -------
        positions_gradient : (n_atoms, 3), per Å
        cell_gradient : (3, 3), per Å
            At fixed Cartesian positions: Σ over pairs of S_a g_b, with S the neighbour's image shift.
        """
        chosen, kinds = self._chosen(atoms, indices), self.kinds(atoms)
        grid = NeighbourGrid(atoms.positions, np.asarray(atoms.cell), atoms.pbc, self.cutoff)
        positions_gradient, cell_gradient = np.zeros((len(atoms), 3)), np.zeros((3, 3))
        table = self._tables[False]
        for start in range(0, len(chosen), _CHUNK):
            block = chosen[start : start + _CHUNK]
            pairs = grid.pairs(block)
            coefficients, neighbour_kinds = self._density(pairs, kinds, kinds[block], single=False)
            d_features = adjoint(slice(start, start + len(block)), self._features(coefficients))
            d_coefficients = np.empty_like(coefficients)
            power_spectrum_reverse(coefficients, d_features, self.n_max, self.l_max, d_coefficients)
            d_pairs = np.empty_like(pairs.vec)
            density_reverse(
                pairs.offsets, pairs.vec, neighbour_kinds, table.coefficients, table.inverse_step, self._norms, self.l_max,
                self._pad, d_coefficients, d_pairs,
            )  # fmt: skip
            scatter(pairs.offsets, pairs.j, pairs.shift, block, d_pairs, positions_gradient, cell_gradient)
        return positions_gradient, cell_gradient

    def _density(self, pairs: Pairs, kinds: Any, own: Any, *, single: bool) -> tuple[NDArray[Any], NDArray[np.int64]]:
        table = self._tables[single]
        shape = (len(own), len(self.species), (self.l_max + 1) ** 2, self._pad)
        coefficients = np.empty(shape, dtype=table.coefficients.dtype)
        neighbour_kinds = kinds[pairs.j]
        density(
            pairs.offsets, pairs.vec, neighbour_kinds, own, table.coefficients, table.inverse_step, self._norms, self.l_max,
            self._pad, coefficients,
        )  # fmt: skip
        return coefficients, neighbour_kinds

    def _features(self, coefficients: NDArray[Any]) -> Float:
        out = np.empty((len(coefficients), self.n_features))
        power_spectrum(coefficients, self.n_max, self.l_max, out)
        return out

    def _chosen(self, atoms: Atoms, indices: ArrayLike | None) -> NDArray[np.int64]:
        chosen = np.arange(len(atoms)) if indices is None else np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(atoms)):
            raise InputError(f"indices must lie between 0 and {len(atoms) - 1}, got {chosen.min()} to {chosen.max()}")
        return chosen


def _number(entry: str | int) -> int:
    if isinstance(entry, str) and entry in atomic_numbers and entry != "X":
        return int(atomic_numbers[entry])
    if isinstance(entry, (int, np.integer)) and 0 < entry < len(chemical_symbols):
        return int(entry)
    raise InputError(f"{entry!r} is no chemical species; give symbols such as 'Cu'")
