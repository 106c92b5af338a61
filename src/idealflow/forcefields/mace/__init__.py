"""MACE, whose layers are those of the package ``mace-torch``, as a force field that campaigns can train."""

from idealflow.forcefields.mace.force_field import MACEForceField
from idealflow.forcefields.mace.weights import from_mace

__all__ = ["MACEForceField", "from_mace"]
