"""MACE as a force field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from ase.data import atomic_numbers

from idealflow.core.setting_types import is_whole
from idealflow.errors import InputError
from idealflow.forcefields.mace.network import MACENetwork
from idealflow.forcefields.message_passing import MessagePassingForceField
from idealflow.forcefields.message_passing.training import GraphSample
from idealflow.forcefields.toolkit.settings import check_whole

__all__ = ["MACEForceField"]

#: settings that are left out of files where they have these values
_FINE = {"cutoff_power": 5, "residual": True, "distance_transform": None, "reduced": True}
_TRANSFORMS = (None, "Agnesi", "Soft")


class MACEForceField(MessagePassingForceField):
    """MACE (Batatia, Kovács, Simm, Ortner, Csányi, NeurIPS 2022), learned from scratch or from a model of ``mace-torch``.

    Its layers come with the package ``mace-torch``, which pins an old e3nn: give it an environment of its own (docs, "Your own
    force field"). Messages are divided by the mean number of neighbours in the first training set.

    Parameters
    ----------
    species
        Chemical symbols it can describe.
    channels, degree
        Channels of an atom's state, and the largest degree of states between layers: 64 and 0 is MACE's small model, 128 and 1
        its medium one.
    l_max, correlation
        Largest degree of the spherical harmonics, and body order of the products less one.
    n_layers, cutoff
        Number of layers, and distance up to which atoms are neighbours, Å.
    n_radial, radial_hidden, readout
        Radial functions, widths of the network that makes weights of messages from them, and of the last readout.
    fit_steps, batch_size, fit_learning_rate
        Defaults of :meth:`fit`: gradient steps, structures per step, highest step size of Adam.
    cutoff_power
        Power of the polynomial that takes messages smoothly to zero at the cutoff.
    residual, distance_transform, reduced
        Where models of ``mace-torch`` differ: whether an atom's first state goes into its second one (not in those of ``--model
        MACE``); ``Agnesi`` or ``Soft`` for transformed distances; whether products that depend on each other are left out.
    precision
        In which the calculator computes, ``single`` or ``double``; learning is in single precision.
    freeze
        Names of parameters that do not learn, as patterns: ``interactions.0.*``, ``node_embedding.*``, or ``*`` for all.
    device
        Torch device, for instance ``cuda``; None takes ``IDEALFLOW_FORCE_FIELD_DEVICE``, and else the CPU. Files do not have it.

    Raises
    ------
    InputError
        For a setting that is impossible.
    MissingExtraError
        Without ``mace-torch``: ``pip install 'idealflow[mace]'``.

    Examples
    --------
    Without the package it says what to install:

    >>> MACEForceField(["Cu"], correlation=0)
    Traceback (most recent call last):
    idealflow.errors.InputError: correlation must be a whole number, at least 1, got 0
    """

    name: ClassVar[str] = "mace"

    def __init__(
        self,
        species: Sequence[str],
        channels: int = 64,
        degree: int = 0,
        l_max: int = 3,
        correlation: int = 3,
        n_layers: int = 2,
        cutoff: float = 5.0,
        n_radial: int = 8,
        radial_hidden: Sequence[int] = (64, 64, 64),
        readout: int = 16,
        fit_steps: int = 1000,
        batch_size: int = 4,
        fit_learning_rate: float = 5e-3,
        precision: str = "single",
        device: str | None = None,
        cutoff_power: int = 5,
        residual: bool = True,
        distance_transform: str | None = None,
        reduced: bool = True,
        freeze: Sequence[str] = (),
    ) -> None:
        settings: dict[str, Any] = {
            "species": species,
            "channels": channels,
            "degree": degree,
            "l_max": l_max,
            "correlation": correlation,
            "n_layers": n_layers,
            "cutoff": cutoff,
            "n_radial": n_radial,
            "radial_hidden": list(radial_hidden),
            "readout": readout,
            "fit_steps": fit_steps,
            "batch_size": batch_size,
            "fit_learning_rate": fit_learning_rate,
            "precision": precision,
            **({"freeze": freeze if isinstance(freeze, str) else list(freeze)} if freeze else {}),
        }
        fine = {
            "cutoff_power": cutoff_power,
            "residual": residual,
            "distance_transform": distance_transform,
            "reduced": reduced,
        }
        settings |= {name: value for name, value in fine.items() if value != _FINE[name]}
        check_whole(settings, "channels", "correlation", "n_layers", "n_radial", "readout")
        check_whole(settings, "degree", "l_max", least=0)
        check_whole(fine, "cutoff_power")
        if distance_transform not in _TRANSFORMS:
            raise InputError(f"distance_transform must be Agnesi, Soft or null, got {distance_transform!r}")
        if settings["degree"] > settings["l_max"]:
            raise InputError(f"degree must be at most l_max, {l_max}, got {degree}")
        if not settings["radial_hidden"] or not all(is_whole(width) and width >= 1 for width in radial_hidden):
            raise InputError(
                f"radial_hidden must be a list of whole numbers, at least one of them, got {radial_hidden!r}"
            )
        super().__init__(settings, device)

    def new_network(self) -> MACENetwork:
        """A network with random weights, as the settings have it."""
        own = (
            "channels",
            "degree",
            "l_max",
            "correlation",
            "n_layers",
            "cutoff",
            "n_radial",
            "radial_hidden",
            "readout",
        )
        numbers = [atomic_numbers[symbol] for symbol in self.species]
        chosen = {name: self.settings[name] for name in (*own, *_FINE) if name in self.settings}
        return MACENetwork(numbers, **chosen)

    def _begin(self, samples: Sequence[GraphSample], seed: int) -> None:
        super()._begin(samples, seed)
        if self._start is None:
            mean = np.mean([len(s.frame.pairs.j) / len(s.frame.kind) for s in samples])
            self.network.neighbours.fill_(max(1.0, float(mean)))  # type: ignore[operator]  # a tensor: MACENetwork's
