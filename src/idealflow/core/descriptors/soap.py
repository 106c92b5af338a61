"""SOAP descriptors equal to DScribe's (``rbf="gto"``), with the reverse pass of any scalar of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray

from idealflow.core.descriptors.alignment import aligned
from idealflow.core.descriptors.basis import gto_basis, radial_functions, radial_table
from idealflow.core.descriptors.compression import density_pairs, n_invariants, n_summed, read_mode
from idealflow.core.descriptors.harmonics import harmonic_constants
from idealflow.core.descriptors.kernel import density, density_reverse, scatter
from idealflow.core.descriptors.neighbours import NeighbourGrid, Pairs
from idealflow.core.descriptors.prepared import KeptBlock, PreparedFrame, chosen_atoms
from idealflow.core.descriptors.spectrum import power_spectrum, power_spectrum_reverse
from idealflow.core.descriptors.threads import in_order
from idealflow.core.descriptors.vectors import LANES
from idealflow.core.setting_types import is_number, is_whole
from idealflow.errors import InputError

__all__ = ["SOAP"]

#: centres in one block: few enough for a core's own cache, and always the same, so that results do not depend on threads
_CHUNK = 256

Float = NDArray[np.float64]
Result = TypeVar("Result")


class SOAP:
    """Smooth overlap of atomic positions: the rotation-invariant power spectrum of each atom's neighbour density.

    Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115, 2013; formulas in docs/explanation/method.md, "Environments as
    vectors". The numbers are those of DScribe (Himanen et al., Comput. Phys. Commun. 247, 106949, 2020).

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
        ``float32`` evaluates radial functions and densities in single precision (1e-6 relative); results are float64, and
        gradients are always computed in double precision.
    taper
        Width, Å, over which neighbours fade out below the cutoff. 0 is DScribe's hard cutoff, where a neighbour that enters
        or leaves changes the descriptor by about 1e-4 of its length.
    compression
        ``{"mode": "mu1nu1" | "crossover" | "mu2"}``: a shorter descriptor of many species, as DScribe makes it
        (:mod:`idealflow.core.descriptors.compression`). None: the whole one.

    Raises
    ------
    InputError
        If a setting is out of range, or there are more radial functions than double precision can tell apart.

    Attributes
    ----------
    cutoff
        The true cutoff, Å: neighbours count up to r_cut + σ √(−2 ln 0.001) = r_cut + 3.717 σ, as in DScribe.
    n_features
        Length of a descriptor.
    compression
        As given, or None.
    pairs : (n_blocks, 2)
        The densities whose products are the descriptor's blocks.
    tables
        Splines of the radial functions, by precision.
    at_centre : (n_pad,)
        What an atom adds to its own density (l = 0), padded with zeros.

    Examples
    --------
    >>> from ase.build import bulk
    >>> soap = SOAP(species=["Cu"], r_cut=5.0, n_max=4, l_max=3, sigma=0.5)
    >>> round(soap.cutoff, 3), soap(bulk("Cu", cubic=True)).shape
    (6.858, (4, 40))
    """

    def __init__(
        self,
        species: Sequence[str | int],
        r_cut: float,
        n_max: int,
        l_max: int,
        sigma: float,
        dtype: str = "float64",
        taper: float = 0.0,
        compression: Mapping[str, Any] | None = None,
    ) -> None:
        numbers = sorted({_number(entry) for entry in species})
        for name, value, rule, good in (
            ("species", species, "not be empty", len(numbers) > 0),
            ("r_cut", r_cut, "exceed 1 Å", is_number(r_cut) and r_cut > 1.0),
            ("n_max", n_max, "be a whole number, at least 1", is_whole(n_max) and n_max >= 1),
            ("l_max", l_max, "be a whole number, at least 0", is_whole(l_max) and l_max >= 0),
            ("sigma", sigma, "be positive, in Å", is_number(sigma) and sigma > 0.0),
            ("dtype", dtype, "be float64 or float32", dtype in ("float64", "float32")),
            ("taper", taper, "be a number, in Å", is_number(taper)),
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
        self.taper = float(taper)
        if not 0.0 <= self.taper <= self.cutoff:
            raise InputError(f"taper must lie between 0 and the cutoff, {self.cutoff:.2f} Å, got {taper}")
        mode, n = read_mode(compression), len(numbers)
        self.compression = None if mode is None else {"mode": mode}
        self.pairs = density_pairs(mode, n)
        self.n_features = n_invariants(self.pairs, self.n_max, self.l_max)
        self._n_densities = n_summed(mode, n)
        self._pad = -(-self.n_max // LANES) * LANES
        basis = (self.r_cut, self.n_max, self.l_max, self.sigma)
        self.tables = {name: radial_table(*basis, self.cutoff, self.taper, name) for name in {"float64", dtype}}
        self._constants = {name: harmonic_constants(self.l_max, name) for name in self.tables}
        self.at_centre = np.zeros(self._pad)
        here = radial_functions(np.zeros(1), *gto_basis(*basis), self.cutoff, self.taper)[0]
        self.at_centre[: self.n_max] = here[0, 0] * self._constants["float64"][0, 0, 0]
        self._kind = np.full(len(chemical_symbols), -1, dtype=np.int64)
        self._kind[self.numbers] = np.arange(n)

    def to_dict(self) -> dict[str, Any]:
        """Settings from which an equal SOAP can be made: ``SOAP(**settings)``."""
        found = {
            "species": list(self.species), "r_cut": self.r_cut, "n_max": self.n_max, "l_max": self.l_max,
            "sigma": self.sigma, "dtype": self.dtype, "taper": self.taper,
        }  # fmt: skip
        return found if self.compression is None else found | {"compression": dict(self.compression)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SOAP:
        """Make the SOAP of which :meth:`to_dict` gave the settings."""
        return cls(**data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SOAP) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(map(str, self.to_dict().values())))

    def __repr__(self) -> str:
        return f"SOAP({', '.join(f'{key}={value!r}' for key, value in self.to_dict().items())})"

    def prepare(self, atoms: Atoms | PreparedFrame) -> PreparedFrame:
        """Check a structure and sort it for neighbour search.

        Raises
        ------
        InputError
            For a species outside ``species``, positions that are not finite, or a flat periodic cell.
        """
        if isinstance(atoms, PreparedFrame):
            return atoms
        kinds: NDArray[np.int64] = self._kind[atoms.numbers]
        if (kinds < 0).any():
            unknown = sorted({chemical_symbols[z] for z in atoms.numbers[kinds < 0]})
            raise InputError(
                f"species {', '.join(unknown)} not among the descriptor's {', '.join(self.species)}; add them"
            )
        return PreparedFrame(kinds, NeighbourGrid(atoms.positions, np.asarray(atoms.cell), atoms.pbc, self.cutoff))

    def __call__(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None) -> Float:
        """Descriptors of all atoms, or of those at ``indices``: (n, n_features)."""
        frame = self.prepare(atoms)
        chosen = chosen_atoms(frame, indices)
        out = np.empty((len(chosen), self.n_features))
        for _ in in_order(lambda part: self._vectors(frame, chosen[part], out[part]), _blocks(len(chosen))):
            pass
        return out

    def map_blocks(
        self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None, work: Callable[[slice, Float], Result]
    ) -> Iterator[Result]:
        """Apply ``work`` to descriptors in blocks of bounded size; results come in order.

        ``work`` gets a slice of ``indices`` and its descriptors (n_block, n_features). It runs in as many threads as numba is set
        to use.
        """
        frame = self.prepare(atoms)
        chosen = chosen_atoms(frame, indices)

        def block(part: slice) -> Result:
            centres = chosen[part]
            return work(part, self._vectors(frame, centres, np.empty((len(centres), self.n_features))))

        return in_order(block, _blocks(len(chosen)))

    def _vectors(self, frame: PreparedFrame, centres: NDArray[np.int64], out: Float) -> Float:
        """Descriptors of a block of centres, into ``out``."""
        pairs = frame.grid.pairs(centres)
        coefficients = self._density(pairs, *self._densities_of(frame, pairs, centres), self.dtype)
        return self._features(coefficients, out)

    def pull_back(
        self,
        atoms: Atoms | PreparedFrame,
        indices: ArrayLike | None,
        adjoint: Callable[[slice, Float], Float],
    ) -> tuple[Float, Float]:
        """Gradient of a scalar of the descriptors with respect to positions and cell, in one pass.

        Parameters
        ----------
        adjoint
            Called once per block with its slice of ``indices`` and its descriptors; returns dU/d(descriptors), same shape.
            It may run in several threads.

        Returns
        -------
        positions_gradient : (n_atoms, 3), per Å
        cell_gradient : (3, 3), per Å
            At fixed Cartesian positions: Σ over pairs of S_a g_b, with S the neighbour's image shift.
        """
        frame = self.prepare(atoms)
        chosen = chosen_atoms(frame, indices)

        def block(part: slice) -> tuple[NDArray[np.int64], Pairs, Float]:
            kept, vectors = self._kept(frame, chosen[part], part)
            return self._reverse(kept, adjoint(part, vectors))

        return self._scattered(frame, in_order(block, _blocks(len(chosen))))

    def keep_blocks(
        self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None, work: Callable[[slice, Float], Result]
    ) -> list[tuple[KeptBlock, Result]]:
        """As :meth:`map_blocks`, in double precision; each result comes with what a reverse pass needs of its block.

        For structures of bounded size: what is kept grows with the number of atoms.
        """
        frame = self.prepare(atoms)
        chosen = chosen_atoms(frame, indices)

        def block(part: slice) -> tuple[KeptBlock, Result]:
            kept, vectors = self._kept(frame, chosen[part], part)
            return kept, work(part, vectors)

        return list(in_order(block, _blocks(len(chosen))))

    def reverse(self, frame: PreparedFrame, blocks: Sequence[tuple[KeptBlock, Float]]) -> tuple[Float, Float]:
        """Gradient in positions and cell, as :meth:`pull_back` gives it, from kept blocks and dU/d(descriptors) of each."""
        return self._scattered(frame, in_order(lambda block: self._reverse(*block), blocks))

    def _kept(self, frame: PreparedFrame, centres: NDArray[np.int64], part: slice) -> tuple[KeptBlock, Float]:
        """A block of centres, and its descriptors."""
        pairs = frame.grid.pairs(centres)
        kinds, own = self._densities_of(frame, pairs, centres)
        kept = KeptBlock(part, centres, pairs, kinds, self._density(pairs, kinds, own, "float64"))
        return kept, self._features(kept.coefficients, np.empty((len(centres), self.n_features)))

    def _reverse(self, kept: KeptBlock, d_features: Float) -> tuple[NDArray[np.int64], Pairs, Float]:
        """Centres and pairs of a block, and the gradient in the pairs' vectors."""
        table, pairs = self.tables["float64"], kept.pairs
        d_coefficients = aligned(len(kept.coefficients), kept.coefficients.dtype)
        power_spectrum_reverse(
            kept.coefficients, np.ascontiguousarray(d_features), len(kept.centres), self.pairs, self.n_max, self._pad,
            self.l_max, d_coefficients,
        )  # fmt: skip
        d_pairs = np.empty_like(pairs.vec)
        density_reverse(
            pairs.offsets, pairs.vec, kept.kinds, table.coefficients, table.origin, table.inverse_step,
            self._constants["float64"], self.l_max, self.n_max, d_coefficients, d_pairs,
        )  # fmt: skip
        return kept.centres, pairs, d_pairs

    def _scattered(
        self, frame: PreparedFrame, parts: Iterable[tuple[NDArray[np.int64], Pairs, Float]]
    ) -> tuple[Float, Float]:
        """Gradient in positions (n_atoms, 3) and cell (3, 3), from that in the vectors of pairs."""
        positions_gradient, cell_gradient = np.zeros((len(frame), 3)), np.zeros((3, 3))
        for centres, pairs, d_pairs in parts:
            scatter(pairs.offsets, pairs.j, pairs.shift, centres, d_pairs, positions_gradient, cell_gradient)
        return positions_gradient, cell_gradient

    def _densities_of(
        self, frame: PreparedFrame, pairs: Pairs, centres: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Into which density neighbours and centres are summed, (n_pairs,) and (n_centres,)."""
        if self._n_densities == 1:
            return np.zeros(len(pairs.j), dtype=np.int64), np.zeros(len(centres), dtype=np.int64)
        return frame.kinds[pairs.j], frame.kinds[centres]

    def _density(self, pairs: Pairs, kinds: NDArray[np.int64], own: NDArray[np.int64], dtype: str) -> NDArray[Any]:
        table = self.tables[dtype]
        coefficients = aligned(len(own) * self._n_densities * (self.l_max + 1) ** 2 * self._pad, dtype)
        density(
            pairs.offsets, pairs.vec, kinds, own, self.at_centre, table.coefficients, table.origin, table.inverse_step,
            self._constants[dtype], self.l_max, self.n_max, coefficients,
        )  # fmt: skip
        return coefficients

    def _features(self, coefficients: NDArray[Any], out: Float) -> Float:
        power_spectrum(coefficients, len(out), self.pairs, self.n_max, self._pad, self.l_max, out)
        return out


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK)]


def _number(entry: str | int) -> int:
    if isinstance(entry, str) and entry in atomic_numbers and entry != "X":
        return int(atomic_numbers[entry])
    if isinstance(entry, (int, np.integer)) and 0 < entry < len(chemical_symbols):
        return int(entry)
    raise InputError(f"{entry!r} is no chemical species; give symbols such as 'Cu'")
