"""K-points of a block of cells as those of one cell, held to the levels of free electrons, which do not ask how they are cut."""

from __future__ import annotations

import numpy as np
import pytest
from ase.dft.kpoints import monkhorst_pack

from workbench.k_points import of_one_cell


def free_levels(points: np.ndarray, edges: np.ndarray, most: float) -> np.ndarray:
    """Energies |k + G|² of free electrons in a box, up to a largest, sorted."""
    reach = np.ceil(np.sqrt(most) * edges).astype(int) + 1
    waves = np.array(list(np.ndindex(*(2 * reach + 1)))) - reach
    energies = (((points[:, None] + waves[None]) / edges) ** 2).sum(axis=2).ravel()
    return np.sort(energies[energies < most])


@pytest.mark.parametrize(
    ("repeat", "grid"), [((5, 5, 5), (1, 1, 1)), ((2, 2, 2), (3, 2, 2)), ((4, 2, 2), (1, 2, 2)), ((1, 1, 1), (4, 3, 2))]
)
def test_a_block_has_the_levels_of_its_cell(repeat, grid):
    edge = np.array([1.0, 1.1, 0.9])
    found = free_levels(of_one_cell(repeat, grid), edge, 2.7)
    assert found == pytest.approx(free_levels(monkhorst_pack(grid), edge * repeat, 2.7))
    assert len(found) > 0
