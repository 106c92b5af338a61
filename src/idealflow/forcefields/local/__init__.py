"""The built-in force field: a local descriptor and a small network per species; learns on the fly on a CPU."""

from idealflow.forcefields.local.force_field import LocalForceField

__all__ = ["LocalForceField"]
