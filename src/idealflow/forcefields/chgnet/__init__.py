"""CHGNet in plain torch; its weights come with the package ``chgnet`` or from files."""

from idealflow.forcefields.chgnet.force_field import CHGNetForceField
from idealflow.forcefields.chgnet.weights import from_chgnet, shipped_file

__all__ = ["CHGNetForceField", "from_chgnet", "shipped_file"]
