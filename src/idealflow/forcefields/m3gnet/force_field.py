"""M3GNet as a force field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from idealflow.core.setting_types import is_number
from idealflow.errors import InputError, did_you_mean
from idealflow.forcefields.m3gnet.basis import MOST_DEGREES
from idealflow.forcefields.m3gnet.network import VARIANTS, M3GNet
from idealflow.forcefields.message_passing import MessagePassingForceField
from idealflow.forcefields.toolkit.settings import check_whole

__all__ = ["M3GNetForceField", "SmallM3GNetForceField"]


class M3GNetForceField(MessagePassingForceField):
    """M3GNet (Chen and Ong, Nat. Comput. Sci. 2, 718 (2022)) of the size that the IDEAL paper uses.

    Parameters
    ----------
    species
        Chemical symbols it can describe.
    n_blocks, units
        Number of layers, and width of the states of atoms and pairs.
    cutoff, three_body_cutoff
        Distance up to which atoms are neighbours, and up to which angles between neighbours count, Å.
    max_n, max_l
        Number of radial functions, and of degrees of harmonics of the angles.
    variant
        Which implementation it equals: ``paper`` (smooth radial functions, spherical Bessel functions with the angles),
        ``matgl-smooth``, ``matgl``, ``mattersim``.
    fit_steps, batch_size, fit_learning_rate
        Defaults of :meth:`fit`: gradient steps, structures per step, highest step size of Adam.
    precision
        In which the calculator computes, ``single`` or ``double``; learning is in single precision.
    device
        Torch device, for instance ``cuda``; None takes ``IDEALFLOW_FORCE_FIELD_DEVICE``, and else the CPU. Files do not have it.
    freeze
        Names of parameters that do not learn, as patterns: ``blocks.0.*``, ``*``.

    Raises
    ------
    InputError
        For a setting that is impossible.

    Examples
    --------
    >>> force_field = M3GNetForceField(["Cu"], n_blocks=2, units=32)
    >>> force_field.n_parameters, force_field.cutoff, force_field.reach
    (51938, 5.0, 10.0)
    """

    name: ClassVar[str] = "m3gnet"

    def __init__(
        self,
        species: Sequence[str],
        n_blocks: int = 4,
        units: int = 128,
        cutoff: float = 5.0,
        three_body_cutoff: float = 4.0,
        max_n: int = 4,
        max_l: int = 4,
        variant: str = "paper",
        fit_steps: int = 1000,
        batch_size: int = 4,
        fit_learning_rate: float = 2e-3,
        precision: str = "single",
        device: str | None = None,
        freeze: Sequence[str] = (),
    ) -> None:
        settings = {
            "species": species,
            "n_blocks": n_blocks,
            "units": units,
            "cutoff": cutoff,
            "three_body_cutoff": three_body_cutoff,
            "max_n": max_n,
            "max_l": max_l,
            "variant": variant,
            "fit_steps": fit_steps,
            "batch_size": batch_size,
            "fit_learning_rate": fit_learning_rate,
            "precision": precision,
            **({"freeze": freeze if isinstance(freeze, str) else list(freeze)} if freeze else {}),
        }
        _check(settings)
        super().__init__(settings, device)

    def new_network(self) -> M3GNet:
        """A network with random weights, as the settings have it."""
        own = ("n_blocks", "units", "cutoff", "three_body_cutoff", "max_n", "max_l", "variant")
        return M3GNet(len(self.species), **{name: self.settings[name] for name in own})


class SmallM3GNetForceField(M3GNetForceField):
    """M3GNet of two layers and 32 units: small enough to learn on a CPU.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> get_force_field("m3gnet-small", species=["Cu"]).settings["units"]
    32
    """

    name: ClassVar[str] = "m3gnet-small"

    def __init__(self, species: Sequence[str], n_blocks: int = 2, units: int = 32, **settings: Any) -> None:
        super().__init__(species, n_blocks, units, **settings)


def _check(settings: dict[str, Any]) -> None:
    check_whole(settings, "n_blocks", "units", "max_n", "max_l")
    if settings["max_l"] > MOST_DEGREES:
        raise InputError(f"max_l must be at most {MOST_DEGREES}, got {settings['max_l']}")
    if not (is_number(settings["three_body_cutoff"]) and 0 < settings["three_body_cutoff"] <= settings["cutoff"]):
        raise InputError(
            f"three_body_cutoff must be positive and at most cutoff, {settings['cutoff']} Å, got "
            f"{settings['three_body_cutoff']!r}"
        )
    if settings["variant"] not in VARIANTS:
        known = list(VARIANTS)
        raise InputError(
            f"variant must be one of {', '.join(known)}, got {settings['variant']!r}"
            f"{did_you_mean(settings['variant'], known)}"
        )
