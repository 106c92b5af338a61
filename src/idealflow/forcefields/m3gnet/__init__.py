"""M3GNet in plain torch: the network, its force field, and weights of other implementations."""

from idealflow.forcefields.m3gnet.force_field import M3GNetForceField, SmallM3GNetForceField
from idealflow.forcefields.m3gnet.network import M3GNet
from idealflow.forcefields.m3gnet.weights import from_matgl, from_mattersim

__all__ = ["M3GNet", "M3GNetForceField", "SmallM3GNetForceField", "from_matgl", "from_mattersim"]
