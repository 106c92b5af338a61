"""Which crystal surrounds each atom: adaptive common neighbour analysis.

A. Stukowski, Modelling Simul. Mater. Sci. Eng. 20, 045021 (2012). The distance at which two neighbours of an atom are taken to be
bonded follows from the distances around that atom, so no cutoff is chosen, and a crystal that is strained is still found.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from idealflow.errors import InputError

__all__ = ["PHASES", "local_phases", "phase_fractions"]

#: what an atom's surroundings may be
PHASES = ("other", "fcc", "hcp", "bcc")

_MOST = 14  # neighbours that are looked at
CHUNK = 4096  # atoms at a time: tables of bonds take some 100 MB
_HALF_WAY = 0.5 * (1.0 + np.sqrt(2.0))  # between the first and the second shell of fcc, and of bcc by the cell's length
_TRIES = 8


def local_phases(atoms: Atoms) -> NDArray[np.str_]:
    """Tell for each atom in which crystal it is.

    An atom of fcc or hcp is told by the bonds among its 12 nearest neighbours, one of bcc by those among its 14. Whatever else it
    is in, a liquid, a surface, the core of a defect, or thermal motion too strong to tell, is ``other``.

    Parameters
    ----------
    atoms
        One frame; periodic images count.

    Returns
    -------
    (n_atoms,) array of text
        ``fcc``, ``hcp``, ``bcc`` or ``other``.

    Raises
    ------
    InputError
        If there are no atoms, or positions are not finite.

    Examples
    --------
    The layers of 9R are stacked ABCBCACAB: in two of three the layers on both sides are alike, as in hcp.

    >>> from idealflow.structures import crystal
    >>> found = local_phases(crystal("Li", "9R", repeat=[3, 3, 1]))
    >>> [int((found == name).sum()) for name in PHASES]
    [0, 27, 54, 0]
    """
    if len(atoms) == 0 or not np.isfinite(atoms.positions).all():
        raise InputError("phases are told of one or more atoms with finite positions")
    nearest = _nearest(atoms)
    found = np.zeros(len(atoms), dtype=np.int64)
    for start in range(0, len(atoms), CHUNK):
        part = nearest[start : start + CHUNK]
        complete = np.isfinite(part).all(axis=(1, 2))
        codes = np.zeros(len(part), dtype=np.int64)
        codes[complete] = _codes(part[complete])
        found[start : start + CHUNK] = codes
    return np.array(PHASES)[found]


def phase_fractions(atoms: Atoms) -> dict[str, float]:
    """Tell which share of the atoms is in each crystal.

    Parameters
    ----------
    atoms
        As for :func:`local_phases`.

    Returns
    -------
    dict
        Share of the atoms by name, in the order of :data:`PHASES`; they add up to 1.

    Examples
    --------
    >>> from ase.build import bulk
    >>> phase_fractions(bulk("Li", "bcc", a=3.5) * 4)
    {'other': 0.0, 'fcc': 0.0, 'hcp': 0.0, 'bcc': 1.0}
    """
    found = local_phases(atoms)
    return {name: float((found == name).mean()) for name in PHASES}


def _nearest(atoms: Atoms) -> NDArray[np.float64]:
    """Vectors to the 14 nearest neighbours, nearest first, (n, 14, 3) Å; not finite where there are fewer within reach."""
    from idealflow.core.descriptors.neighbours import neighbour_pairs  # with numba, which takes a second to import

    nearest = np.full((len(atoms), _MOST, 3), np.inf)
    left = np.arange(len(atoms))
    reach = 3.2 * float(np.mean(covalent_radii[atoms.numbers]))
    for _ in range(_TRIES):
        lacking = []
        for start in range(0, len(left), CHUNK):
            centres = left[start : start + CHUNK]
            offsets, _, _, vectors = neighbour_pairs(atoms.positions, np.asarray(atoms.cell), atoms.pbc, reach, centres)
            squared = (vectors**2).sum(axis=1)
            for number, centre in enumerate(centres):
                mine = slice(offsets[number], offsets[number + 1])
                if mine.stop - mine.start < _MOST:
                    lacking.append(centre)
                    continue
                order = np.argsort(squared[mine], kind="stable")[:_MOST]
                nearest[centre] = vectors[mine][order]
        left = np.array(lacking, dtype=np.int64)
        if not len(left):
            break
        reach *= 1.15
    return nearest


def _codes(vectors: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number of the phase in :data:`PHASES` of atoms with these nearest neighbours, (n, 14, 3)."""
    lengths = np.linalg.norm(vectors, axis=2)
    close_packed = _HALF_WAY * lengths[:, :12].mean(axis=1)
    body_centred = _HALF_WAY * (2.0 / np.sqrt(3.0) * lengths[:, :8].sum(axis=1) + lengths[:, 8:].sum(axis=1)) / _MOST
    of_12 = _signatures(vectors[:, :12], close_packed)
    of_14 = _signatures(vectors, body_centred)
    n_421, n_422 = (of_12 == 421).sum(axis=1), (of_12 == 422).sum(axis=1)
    codes = np.zeros(len(vectors), dtype=np.int64)
    codes[((of_14 == 444).sum(axis=1) == 6) & ((of_14 == 666).sum(axis=1) == 8)] = PHASES.index("bcc")
    codes[(n_421 == 6) & (n_422 == 6)] = PHASES.index("hcp")
    codes[n_421 == 12] = PHASES.index("fcc")
    return codes


def _signatures(vectors: NDArray[np.float64], cutoffs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Signature of each bond to a neighbour, (n, k): neighbours in common, bonds among these, longest chain of such bonds.

    Four signatures are told apart (421, 422, 444 and 666); others are 0.
    """
    apart = np.linalg.norm(vectors[:, :, None] - vectors[:, None], axis=3)
    bonded = apart < cutoffs[:, None, None]
    bonded &= ~np.eye(vectors.shape[1], dtype=bool)
    common = bonded.sum(axis=2)
    # among[n, j, k, l]: k and l are bonded to each other and both to j
    among = bonded[:, :, :, None] & bonded[:, :, None, :] & bonded[:, None]
    ends = among.sum(axis=3)
    n_bonds, most = ends.sum(axis=2) // 2, ends.max(axis=2)
    signatures = np.zeros(common.shape, dtype=np.int64)
    four = common == 4
    signatures[four & (n_bonds == 2) & (most == 1)] = 421
    signatures[four & (n_bonds == 2) & (most == 2)] = 422
    signatures[four & (n_bonds == 4) & (most == 2)] = 444
    ring = (common == 6) & (n_bonds == 6) & (most == 2)
    atom, neighbour = np.nonzero(ring)
    if len(atom):
        # two triangles have as many bonds as one ring of six
        table = among[atom, neighbour].astype(np.float64)
        triangles = np.einsum("akl,alk->a", table @ table, table)
        signatures[atom[triangles == 0], neighbour[triangles == 0]] = 666
    return signatures
