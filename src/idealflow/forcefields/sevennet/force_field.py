"""SevenNet as a force field, with the weights that its package ships or random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from idealflow.core.setting_types import is_number, is_whole
from idealflow.errors import InputError, did_you_mean
from idealflow.forcefields.message_passing import MessagePassingForceField
from idealflow.forcefields.sevennet.network import CUTOFF_FUNCTIONS, SevenNet
from idealflow.forcefields.sevennet.weights import from_sevennet, shipped_file
from idealflow.forcefields.toolkit.settings import check_whole

__all__ = ["SevenNetForceField"]


class SevenNetForceField(MessagePassingForceField):
    """SevenNet (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)), by default with the weights of SevenNet-0.

    Weights come with the package ``sevenn`` (``pip install 'idealflow[sevennet]'``), which is read and not imported. A force
    field with weights computes at once, and fits begin from them.

    Parameters
    ----------
    species
        Chemical symbols it can describe; the shipped weights know 89.
    pretrained
        ``7net-0``, ``7net-l3i5``, or None for random weights. Weights bring the settings of the network with them.
    channels
        Channels of each degree of the atoms' states, from 0 on.
    n_layers, cutoff
        Number of layers, and distance up to which atoms are neighbours, Å.
    n_radial, radial_hidden
        Radial functions, and widths of the network that makes weights of messages from them.
    cutoff_function, cutoff_start, cutoff_power
        ``xplor``, which begins at ``cutoff_start`` Å, or ``polynomial`` of the degree ``cutoff_power``.
    fit_steps, batch_size, fit_learning_rate
        Defaults of :meth:`fit`: gradient steps, structures per step, highest step size of Adam.
    precision
        In which the calculator computes, ``single`` or ``double``; learning is in single precision.
    freeze
        Names of parameters that do not learn, as patterns: ``layers.0.*``, ``embedding``, or ``*`` for all.
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
    >>> small = SevenNetForceField(["Cu"], pretrained=None, channels=[8, 4], n_layers=2)
    >>> small.n_parameters, small.cutoff, small.reach
    (11588, 5.0, 10.0)
    """

    name: ClassVar[str] = "sevennet"

    def __init__(
        self,
        species: Sequence[str],
        pretrained: str | None = "7net-0",
        channels: Sequence[int] = (128, 64, 32),
        n_layers: int = 5,
        cutoff: float = 5.0,
        n_radial: int = 8,
        radial_hidden: Sequence[int] = (64, 64),
        cutoff_function: str = "xplor",
        cutoff_start: float = 4.5,
        cutoff_power: float = 6.0,
        fit_steps: int = 200,
        batch_size: int = 4,
        fit_learning_rate: float = 1e-3,
        precision: str = "single",
        freeze: Sequence[str] = (),
        device: str | None = None,
    ) -> None:
        settings: dict[str, Any] = {
            "pretrained": None,  # a file has its weights
            "channels": list(channels),
            "n_layers": n_layers,
            "cutoff": cutoff,
            "n_radial": n_radial,
            "radial_hidden": list(radial_hidden),
            "cutoff_function": cutoff_function,
            "cutoff_start": cutoff_start,
            "cutoff_power": cutoff_power,
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
        architecture, weights = from_sevennet(shipped_file(pretrained))
        known = architecture.pop("species")
        self._begin_with(pretrained, {**settings, **architecture, "species": species}, known, weights, device)

    def new_network(self) -> SevenNet:
        """A network with random weights, as the settings have it."""
        own = ["channels", "n_layers", "cutoff", "n_radial", "radial_hidden"]
        own += ["cutoff_function", "cutoff_start", "cutoff_power"]
        return SevenNet(len(self.settings["species"]), **{name: self.settings[name] for name in own})


def _check(settings: dict[str, Any]) -> None:
    check_whole(settings, "n_layers", "n_radial")
    for label in ("channels", "radial_hidden"):
        if not settings[label] or not all(is_whole(width) and width >= 1 for width in settings[label]):
            raise InputError(f"{label} must be a list of whole numbers, at least one of them, got {settings[label]!r}")
    if settings["cutoff_function"] not in CUTOFF_FUNCTIONS:
        known = list(CUTOFF_FUNCTIONS)
        raise InputError(
            f"cutoff_function must be one of {', '.join(known)}, got {settings['cutoff_function']!r}"
            f"{did_you_mean(settings['cutoff_function'], known)}"
        )
    start, cutoff = settings["cutoff_start"], settings["cutoff"]
    if not (is_number(start) and is_number(cutoff) and 0 < start < cutoff):
        raise InputError(f"cutoff_start must be positive and less than cutoff, {cutoff!r} Å, got {start!r}")
