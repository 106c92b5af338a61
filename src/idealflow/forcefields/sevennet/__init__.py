"""SevenNet in plain torch; its weights come with the package ``sevenn`` or from files."""

from idealflow.forcefields.sevennet.force_field import SevenNetForceField
from idealflow.forcefields.sevennet.label_source import sevennet_calculator
from idealflow.forcefields.sevennet.weights import from_sevennet, shipped_file

__all__ = ["SevenNetForceField", "from_sevennet", "sevennet_calculator", "shipped_file"]
