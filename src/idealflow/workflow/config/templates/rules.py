"""Settings that suit a structure, each by a rule that the config then says beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from pymatgen.core import Element
from pymatgen.io.ase import AseAtomsAdaptor

from idealflow.core import SOAP
from idealflow.core.descriptors.neighbours import neighbour_pairs
from idealflow.core.structure import of_the_label

__all__ = ["Descriptor", "kind_of", "local_volume", "repeats", "representatives", "small_cell"]

_LARGEST_SEED = 60  # atoms of a unit cell that is perturbed and labelled
_LOOKED_AT = 500  # atoms of a large frame whose surroundings are compared


@dataclass(frozen=True)
class Descriptor:
    """Settings of SOAP and of the force field's cutoff, and the size of a cell that they ask for.

    Attributes
    ----------
    r_cut, sigma
        Å.
    n_max
        Radial functions; angular degrees go to 6.
    cutoff
        What SOAP truly sees, Å.
    volume
        Per atom, Å³.

    Examples
    --------
    >>> from ase.build import bulk
    >>> found = Descriptor.of(bulk("Cu", cubic=True) * 3)
    >>> found.r_cut, round(found.cutoff, 2), found.force_field, found.least_atoms, found.budget
    (4.0, 5.49, 5.0, 115, 230)
    """

    r_cut: float
    sigma: float
    n_max: int
    cutoff: float
    volume: float

    @classmethod
    def of(cls, atoms: Atoms) -> Descriptor:
        """Choose r_cut as 1.78 times the mean spacing of atoms (volume per atom)^(1/3), between 4 and 5.2 Å; sigma as a tenth."""
        volume = local_volume(atoms)
        r_cut = float(np.round(np.clip(1.78 * volume ** (1.0 / 3.0), 4.0, 5.2), 1))
        sigma, n_max = (0.4, 6) if r_cut < 4.5 else (0.5, 8)
        cutoff = SOAP(species=["H"], r_cut=r_cut, n_max=n_max, l_max=6, sigma=sigma).cutoff
        return cls(r_cut, sigma, n_max, float(cutoff), volume)

    @property
    def force_field(self) -> float:
        """The force field's cutoff, Å: half an ångström and less below what SOAP sees, in steps of a half."""
        return float(np.floor(2.0 * (self.cutoff - 0.3)) / 2.0)

    @property
    def least_atoms(self) -> int:
        """Atoms in the smallest cell, a cube of twice the cutoff."""
        return round((2.0 * self.cutoff) ** 3 / self.volume)

    @property
    def budget(self) -> int:
        """Twice as many, which leaves room for cells along the local lattice, in tens."""
        return int(np.ceil(2 * self.least_atoms / 10) * 10)


def local_volume(atoms: Atoms) -> float:
    """Volume per atom where atoms are, Å³: empty space beside surfaces and particles does not count.

    It is that of a ball that holds as many atoms as the median atom's surroundings of twice its nearest distance, whichever is
    smaller, that or the cell's.

    Examples
    --------
    >>> from ase.build import bulk
    >>> crystal = bulk("Cu", cubic=True) * 3
    >>> whole = local_volume(crystal)
    >>> crystal.center(vacuum=20.0, axis=2)
    >>> round(whole, 1), local_volume(crystal) < 2 * whole
    (11.5, True)
    """
    reach = 6.0
    some = np.unique(np.linspace(0, len(atoms) - 1, _LOOKED_AT).astype(int))
    pairs = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, reach, some)
    most = float(np.quantile(np.diff(pairs[0]), 0.9)) + 1.0  # atoms inside the body, not on its surface
    here = 4.0 / 3.0 * np.pi * reach**3 / most
    whole = atoms.get_volume() / len(atoms) if atoms.cell.rank == 3 and atoms.pbc.all() else np.inf
    return float(min(here, whole))


def kind_of(atoms: Atoms, states: dict[str, float] | None) -> tuple[str, str]:
    """Choose the kind of VASP's input set; return it with the reason.

    Examples
    --------
    >>> from ase.build import bulk
    >>> kind_of(bulk("Cu"), None)
    ('metal', 'all species are metals')
    """
    if all(Element(symbol).is_metal for symbol in set(atoms.symbols)) and atoms.pbc.all():
        return "metal", "all species are metals"
    if states is not None:
        return "oxide", "an ionic compound"
    return "reactive", "a surface, molecules, or no clear case: spin-polarised"


def repeats(atoms: Atoms, cutoff: float) -> list[int]:
    """How often a cell has to be repeated to be 3.5 cutoffs wide along each periodic direction; [1, 1, 1] from 200 atoms on.

    Examples
    --------
    >>> from ase.build import bulk
    >>> repeats(bulk("Cu", cubic=True), cutoff=5.5)
    [6, 6, 6]
    """
    if len(atoms) >= 200 or not atoms.pbc.any():
        return [1, 1, 1]
    widths = 1.0 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1) if atoms.cell.rank == 3 else np.full(3, np.inf)
    counts = np.where(atoms.pbc, np.ceil(3.5 * cutoff / widths - 1e-6), 1)
    return [max(1, int(count)) for count in counts]


def small_cell(atoms: Atoms) -> tuple[Atoms | None, str]:
    """A small cell of the same structure, if it has one: itself, or its primitive cell; with a word for it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> cell, what = small_cell(bulk("Cu", cubic=True) * 5)
    >>> len(cell), what
    (1, 'primitive cell')
    """
    if len(atoms) <= _LARGEST_SEED:
        return atoms, "the structure itself"
    if atoms.pbc.all() and len(atoms) <= 5000:
        primitive = AseAtomsAdaptor.get_structure(of_the_label(atoms)).get_primitive_structure(tolerance=0.1)
        if len(primitive) <= _LARGEST_SEED:
            return of_the_label(AseAtomsAdaptor.get_atoms(primitive, msonable=False)), "primitive cell"
    return None, ""


def representatives(atoms: Atoms, descriptor: Descriptor, per_species: int = 2) -> list[int]:
    """Atoms whose surroundings differ most, some of each species: the first is the most usual, each other the farthest from all.

    Examples
    --------
    >>> from ase.build import bulk
    >>> crystal = bulk("Cu", cubic=True) * 4
    >>> del crystal[100]
    >>> len(representatives(crystal, Descriptor.of(crystal)))
    2
    """
    species = sorted(set(atoms.get_chemical_symbols()))
    soap = SOAP(species=species, r_cut=descriptor.r_cut, n_max=4, l_max=4, sigma=descriptor.sigma)
    found: list[int] = []
    for symbol in species:
        rows = np.flatnonzero(atoms.symbols == symbol)
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, _LOOKED_AT).astype(int))]
        vectors = soap(atoms, rows)
        chosen = [int(np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1).argmin())]
        while len(chosen) < min(per_species, len(rows)):
            away = np.linalg.norm(vectors[:, None] - vectors[chosen][None], axis=-1).min(axis=1)
            chosen.append(int(away.argmax()))
        found += [int(rows[i]) for i in chosen]
    return found
