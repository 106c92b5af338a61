"""The frame in gas on which cells once lost their surfaces, and its first set: a particle of 201 iridium atoms in N2 and H2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from benchmarks import surfaces
from idealflow.structures import gas_around, particle

CELLS = 2  # of faces, of edges and of vertices


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """What is kept of cells around atoms of the frame, displaced as at 1 200 K, by what the first set knows."""
    body = particle("Ir", shape="octahedron", length=7, cut=2, a=3.88, box=28.0)
    frame = gas_around(body, {"N2": 40, "H2": 60}, adsorbed={"N": 20})
    assert len(frame) == 421
    frame.positions += np.random.default_rng(0).normal(0.0, 0.08, frame.positions.shape)
    first = read(surfaces.FIRST_SET, ":")
    assert len(first) == 77
    known = [Atoms(one.symbols, one.positions, cell=one.cell, pbc=one.pbc) for one in first]
    case = surfaces.Case(frame, known, surfaces.sites(body, "Ir"))
    return surfaces.measure("gas-particle", case, 3 * CELLS)


def test_cells_keep_vacuum_molecules_and_adsorbates(rows):
    assert [row["group"] for row in rows] == CELLS * ["face"] + CELLS * ["edge"] + CELLS * ["vertex"]
    for row in rows:
        assert "refused" not in row
        assert (row["vacuum"], row["waived"]) == (1, 0)
        assert row["bonds_kept"] == row["bonds"] > 0
        assert row["adsorbed_kept"] == row["adsorbed"]
    assert sum(row["adsorbed"] for row in rows) > 10


def test_their_shells_and_cores_are_as_known_as_in_the_frame(rows):
    assert np.median([row["shell"] for row in rows]) <= 1.5
    assert max(row["core"] for row in rows) <= 2.0
