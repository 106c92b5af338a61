"""SevenNet with its shipped weights as an ASE calculator, for labels that stand in for DFT."""

from __future__ import annotations

from ase.calculators.calculator import Calculator

from idealflow.forcefields.sevennet.force_field import SevenNetForceField
from idealflow.forcefields.sevennet.weights import from_sevennet, shipped_file

__all__ = ["sevennet_calculator"]


def sevennet_calculator(model: str = "7net-0", precision: str = "single", device: str | None = None) -> Calculator:
    """Calculator of energy, forces and stress with weights that ``sevenn`` ships, for all species that they know.

    It refuses unknown species and positions that are not finite, and takes each direction as periodic as it is.

    Parameters
    ----------
    model
        ``7net-0`` or ``7net-l3i5``.
    precision, device
        As of :class:`~idealflow.forcefields.sevennet.SevenNetForceField`.

    Raises
    ------
    InputError
        For another name.
    MissingExtraError
        If the package is not installed.

    Examples
    --------
    >>> sevennet_calculator("7net-1")
    Traceback (most recent call last):
    idealflow.errors.InputError: no weights of SevenNet are called '7net-1' (did you mean '7net-0'?); known: 7net-0, 7net-l3i5
    """
    settings, weights = from_sevennet(shipped_file(model))
    others = {"pretrained": None, "precision": precision, "device": device}
    return SevenNetForceField.with_weights(settings, weights, **others).calculator()
