"""CHGNet as a force field, with the weights that its package ships or random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from idealflow.core.setting_types import is_number
from idealflow.errors import InputError
from idealflow.forcefields.chgnet.network import CHGNet
from idealflow.forcefields.chgnet.weights import from_chgnet, shipped_file
from idealflow.forcefields.message_passing import MessagePassingForceField
from idealflow.forcefields.toolkit.settings import check_positive, check_whole

__all__ = ["CHGNetForceField"]

_OWN = ("n_layers", "units", "cutoff", "three_body_cutoff", "n_radial", "n_angular", "cutoff_power", "n_hidden")


class CHGNetForceField(MessagePassingForceField):
    """CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)), by default with the weights of version 0.3.0.

    Weights come with the package ``chgnet`` (``pip install 'idealflow[chgnet]'``), which is read and not imported. A force field
    with weights computes at once, and fits begin from them. It refuses positions that are not finite and has the right stress in
    left-handed cells, which the package has not.

    Parameters
    ----------
    species
        Chemical symbols it can describe; the shipped weights know 89.
    pretrained
        ``chgnet-0.3.0``, ``chgnet-r2scan``, or None for random weights. Weights bring the settings of the network with them.
    n_layers, units
        Number of layers, and width of the states of atoms, bonds and angles.
    cutoff, three_body_cutoff
        Distance up to which atoms are neighbours, and up to which bonds form angles, Å.
    n_radial, n_angular
        Number of radial functions, and of functions of the angle, which is odd.
    cutoff_power
        Power of the polynomial that takes messages smoothly to zero at the cutoffs.
    n_hidden
        Number of hidden layers of the network that gives energies.
    fit_steps, batch_size, fit_learning_rate
        Defaults of :meth:`fit`: gradient steps, structures per step, highest step size of Adam.
    precision
        In which the calculator computes, ``single`` or ``double``; learning is in single precision.
    freeze
        Names of parameters that do not learn, as patterns: ``atom_layers.0.*``, ``atoms.*``, or ``*`` for all.
    device
        Torch device, for instance ``cuda``; None takes ``IDEALFLOW_FORCE_FIELD_DEVICE``, and else the CPU. Files do not have it.

    Raises
    ------
    InputError
        For a setting that is impossible, or a species that the weights do not know.
    MissingExtraError
        If the weights are asked for and their package is not installed.

    Examples
    --------
    >>> small = CHGNetForceField(["Cu"], pretrained=None, units=8, n_layers=2, cutoff=5.0)
    >>> small.n_parameters, small.cutoff, small.reach
    (3366, 5.0, 10.0)
    """

    name: ClassVar[str] = "chgnet"

    def __init__(
        self,
        species: Sequence[str],
        pretrained: str | None = "chgnet-0.3.0",
        n_layers: int = 4,
        units: int = 64,
        cutoff: float = 6.0,
        three_body_cutoff: float = 3.0,
        n_radial: int = 31,
        n_angular: int = 31,
        cutoff_power: float = 8.0,
        n_hidden: int = 3,
        fit_steps: int = 200,
        batch_size: int = 4,
        fit_learning_rate: float = 1e-3,
        precision: str = "single",
        freeze: Sequence[str] = (),
        device: str | None = None,
    ) -> None:
        settings: dict[str, Any] = {
            "pretrained": None,  # a file has its weights
            "n_layers": n_layers,
            "units": units,
            "cutoff": cutoff,
            "three_body_cutoff": three_body_cutoff,
            "n_radial": n_radial,
            "n_angular": n_angular,
            "cutoff_power": cutoff_power,
            "n_hidden": n_hidden,
            "fit_steps": fit_steps,
            "batch_size": batch_size,
            "fit_learning_rate": fit_learning_rate,
            "precision": precision,
            **({"freeze": freeze if isinstance(freeze, str) else list(freeze)} if freeze else {}),
        }
        if pretrained is None:
            _check(settings)
            super().__init__({**settings, "species": species}, device)
            return
        architecture, weights = from_chgnet(shipped_file(pretrained))
        known = architecture.pop("species")
        self._begin_with(pretrained, {**settings, **architecture, "species": species}, known, weights, device)

    def new_network(self) -> CHGNet:
        """A network with random weights, as the settings have it."""
        return CHGNet(len(self.settings["species"]), **{name: self.settings[name] for name in _OWN})


def _check(settings: dict[str, Any]) -> None:
    check_whole(settings, "n_layers", least=2)
    check_whole(settings, "units", "n_radial", "n_hidden")
    check_whole(settings, "n_angular", least=3)
    check_positive(settings, "cutoff_power")
    if settings["n_angular"] % 2 == 0:
        raise InputError(f"n_angular must be odd: a constant, sines and cosines; got {settings['n_angular']}")
    near, cutoff = settings["three_body_cutoff"], settings["cutoff"]
    if not (is_number(near) and is_number(cutoff) and 0 < near <= cutoff):
        raise InputError(f"three_body_cutoff must be positive and at most cutoff, {cutoff!r} Å, got {near!r}")
