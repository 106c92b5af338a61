"""Force fields: the protocol they follow, the registry, the built-in one, and uncertainty by a committee of several."""

from idealflow.forcefields.committee import CommitteeUncertainty
from idealflow.forcefields.pretrained import pretrained_force_field, weights_file
from idealflow.forcefields.protocol import (
    AtomicEnergies,
    AtomicForceField,
    Consolidating,
    ForceField,
    Startable,
    TrainReport,
)
from idealflow.forcefields.reach import reach_of
from idealflow.forcefields.registry import (
    available,
    default_settings,
    get_force_field,
    load_force_field,
    present_settings,
    register_force_field,
)

__all__ = [
    "AtomicEnergies",
    "AtomicForceField",
    "CommitteeUncertainty",
    "Consolidating",
    "ForceField",
    "Startable",
    "TrainReport",
    "available",
    "default_settings",
    "get_force_field",
    "load_force_field",
    "present_settings",
    "pretrained_force_field",
    "reach_of",
    "register_force_field",
    "weights_file",
]
