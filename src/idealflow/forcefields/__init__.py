"""Force fields: the protocol, the registry, and the built-in local one."""

from idealflow.forcefields.protocol import ForceField, TrainReport
from idealflow.forcefields.registry import available, get_force_field, load_force_field, register_force_field

__all__ = ["ForceField", "TrainReport", "available", "get_force_field", "load_force_field", "register_force_field"]
