"""Lithium frames of any size, and the label settings of the campaign in workflows/li_gpaw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ase import Atoms

from workbench import crystals
from workbench.crystals import rattled

LATTICE = 3.44  # Å, as in the campaign
CONFIG = Path(__file__).parent.parent / "li_gpaw" / "li-gpaw.yaml"


def lithium(counts: tuple[int, int, int], *, width: float, seed: int) -> Atoms:
    """Cubic cells of bcc lithium, ``counts`` along each axis, displaced by normal noise of ``width`` Å per component."""
    return rattled(crystals.lithium(counts, a=LATTICE), width, seed)


def balanced(n_atoms: int) -> tuple[int, int, int]:
    """Counts of two-atom cells along the axes, as equal as they get, for at least ``n_atoms``."""
    counts = [1, 1, 1]
    while 2 * counts[0] * counts[1] * counts[2] < n_atoms:
        counts[counts.index(min(counts))] += 1
    return counts[0], counts[1], counts[2]


def config() -> dict[str, Any]:
    """The campaign's settings."""
    loaded: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    return loaded


def labeller() -> dict[str, Any]:
    """The campaign's label settings: the same for frames and substructures."""
    settings: dict[str, Any] = config()["label"]["labeller"]
    return settings
