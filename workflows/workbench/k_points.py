"""K-points of a block of cells as those of one cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.dft.kpoints import monkhorst_pack


def of_one_cell(repeat: Sequence[int], grid: Sequence[int]) -> np.ndarray:
    """The k-points at which one cell has the bands that a block of cells has on a Monkhorst–Pack grid.

    A Bloch wave of the block with the wave vector q is one of the cell with (q + m) / repeat for a whole m, so a perfect
    crystal has the same energy per atom by both.

    Parameters
    ----------
    repeat
        Cells along each axis of the block.
    grid
        The block's grid (Monkhorst and Pack, *Phys. Rev. B* **13**, 5188, 1976).

    Returns
    -------
    array, (n, 3)
        In units of the cell's reciprocal vectors, all of the same weight.
    """
    return np.array([(q + np.array(m)) / repeat for q in monkhorst_pack(grid) for m in np.ndindex(*repeat)])
