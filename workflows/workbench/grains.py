"""What is measured of a polycrystal that melts: how much of each depth below the boundaries of its grains is still crystal."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from idealflow.analysis import local_phases
from idealflow.provenance import CampaignChain
from workbench.melting import Rows, course, maker_of

DEPTHS = (0.0, 3.0, 6.0, np.inf)  # Å below a boundary


def depths(atoms: Atoms, phase: str = "bcc") -> NDArray[np.float64]:
    """Distance of each atom to the nearest one that is in no crystal of a phase, Å; (n,)."""
    edges = atoms.cell.lengths()
    inside = np.mod(atoms.positions, edges)
    inside[inside >= edges] = 0.0
    between = local_phases(atoms) != phase
    if not between.any():
        raise SystemExit(f"every atom is in {phase}: there is no boundary")
    found: NDArray[np.float64] = cKDTree(inside[between], boxsize=edges).query(inside)[0]
    return found


def melting(chain: CampaignChain, phase: str = "bcc") -> Rows:
    """The course of the run, with the share of atoms in the phase: of all, and by how deep in a grain they were at rest.

    At rest is the last frame of the first stage of the schedule.
    """
    campaign = chain[-1]
    frames = campaign.trajectory()
    rests = maker_of(campaign).segment.schedule[0]["steps"]
    rested = max(
        (atoms for atoms in frames if int(atoms.info["step"]) <= rests), key=lambda atoms: int(atoms.info["step"])
    )
    deep = depths(rested, phase)
    parts = [(deep >= low) & (deep < high) for low, high in pairwise(DEPTHS)]

    def shares(atoms: Atoms, _first: Atoms) -> dict[str, Any]:
        solid = local_phases(atoms) == phase
        return {
            "crystal": float(solid.mean()),
            **{f"depth_{n}": float(solid[mine].mean()) for n, mine in enumerate(parts)},
        }

    return course(chain, shares)
