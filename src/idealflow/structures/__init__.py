"""Structures to begin a campaign with: crystals, slabs, particles, gases around them, polycrystals.

Each builder is a function that returns ase ``Atoms``, and a mapping of a config: ``structure: {builder: particle, ...}`` has the
function's arguments as keys.
"""

from idealflow.structures.builders import available_builders, from_builder
from idealflow.structures.cells import cell_around
from idealflow.structures.crystals import crystal, slab
from idealflow.structures.gases import gas_around
from idealflow.structures.particles import particle
from idealflow.structures.polycrystals import polycrystal

__all__ = [
    "available_builders",
    "cell_around",
    "crystal",
    "from_builder",
    "gas_around",
    "particle",
    "polycrystal",
    "slab",
]
