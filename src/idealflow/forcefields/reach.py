"""How far an atom's energy depends on others: further than the cutoff, where messages are passed."""

from __future__ import annotations

from idealflow.forcefields.protocol import ForceField

__all__ = ["reach_of"]


def reach_of(force_field: ForceField) -> float:
    """Distance up to which other atoms can change the energy of an atom, Å.

    It is the force field's ``reach``, with message passing one cutoff a layer; force fields without one reach as far as their
    ``cutoff``.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> reach_of(get_force_field("local", species=["Cu"], cutoff=5.0))
    5.0
    >>> reach_of(get_force_field("m3gnet", species=["Cu"], n_blocks=2, units=32))
    10.0
    """
    return float(getattr(force_field, "reach", force_field.cutoff))
