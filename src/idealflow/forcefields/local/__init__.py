"""The built-in force field: a local descriptor and a small network per species, fast enough to learn on a CPU."""

from idealflow.forcefields.local.force_field import LocalForceField

__all__ = ["LocalForceField"]
