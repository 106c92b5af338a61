"""Weights of SevenNet as the package ``sevenn`` stores and ships them, read without importing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch import Tensor

from idealflow.errors import InputError
from idealflow.forcefields.message_passing.coupling import coupling
from idealflow.forcefields.sevennet.network import Path as MessagePath
from idealflow.forcefields.sevennet.network import paths_of
from idealflow.forcefields.shipped import ShippedWeights, read_as_data, translated_as

__all__ = ["SHIPPED", "from_sevennet", "shipped_file"]

Weights = dict[str, Tensor]

#: name → folder and file in the wheel of ``sevenn``
SHIPPED = {
    "7net-0": "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
    "7net-l3i5": "SevenNet_l3i5/checkpoint_l3i5.pth",
}
#: what other models of sevenn may have and this network has not, by the name in their settings
_NEEDED: dict[str, Any] = {
    "is_parity": False,
    "interaction_type": "nequip",
    "self_connection_type": "linear",
    "use_bias_in_linear": False,
    "readout_as_fcn": False,
    "act_radial": "silu",
    "_normalize_sph": True,
}
_READ = "sevenn's checkpoint"


def shipped_file(name: str) -> Path:
    """Path of weights that the wheel of ``sevenn`` ships.

    Raises
    ------
    InputError
        For a name that it does not ship.
    MissingExtraError
        If the package is not installed; the message holds the pip command.

    Examples
    --------
    >>> shipped_file("7net-1")
    Traceback (most recent call last):
    idealflow.errors.InputError: no weights of SevenNet are called '7net-1' (did you mean '7net-0'?); known: 7net-0, ...
    """
    return ShippedWeights("SevenNet", "sevenn", "sevennet", "pretrained_potentials", SHIPPED).path(name)


def from_sevennet(path: str | Path) -> tuple[dict[str, Any], Weights]:
    """Settings and weights of a :class:`~idealflow.forcefields.sevennet.SevenNetForceField` from a checkpoint of sevenn.

    Nothing of the file is run: it is read as data.

    Parameters
    ----------
    path
        Checkpoint of sevenn 0.9 or later, of a model with one level of theory and linear self-connections.

    Returns
    -------
    settings
        Arguments of the force field.
    weights
        State of its network.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, or no checkpoint.
    InputError
        For a model that this network is not.

    Examples
    --------
    >>> from_sevennet("absent.pth")
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: absent.pth does not exist; expected sevenn's checkpoint
    """
    return translated_as("SevenNet", path, _translated, *read_as_data(Path(path), _READ, _read))


def _read(path: Path) -> tuple[dict[str, Any], Weights]:
    rebuild = np.empty(0).__reduce__()[0]  # arrays among the settings, by the name that numpy 1 gave what makes them
    harmless: list[Any] = [np.dtype, np.ndarray, (rebuild, "numpy.core.multiarray._reconstruct")]
    harmless += [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64)]
    with torch.serialization.safe_globals(harmless):
        whole = torch.load(path, map_location="cpu", weights_only=True)
    return dict(whole["config"]), dict(whole["model_state_dict"])


def _translated(config: Mapping[str, Any], state: Mapping[str, Tensor], path: str) -> tuple[dict[str, Any], Weights]:
    if config.get("use_modality", False):
        raise InputError(
            f"{path} holds a SevenNet of several levels of theory, which is not read here; give one of one"
        )
    for name, value in _NEEDED.items():
        if config.get(name, value) != value:
            raise InputError(f"{path} holds a SevenNet with {name} = {config[name]!r}, only {value!r} is read here")
    blocks = [_channels(text) for text in config["irreps_manual"]]
    function = dict(config["cutoff_function"])
    kind = {"XPLOR": "xplor", "poly_cut": "polynomial"}[function["cutoff_function_name"]]
    settings: dict[str, Any] = {
        "channels": blocks[1],
        "n_layers": int(config["num_convolution_layer"]),
        "cutoff": float(config["cutoff"]),
        "n_radial": len(state["edge_embedding.basis_function.coeffs"]),
        "radial_hidden": [int(width) for width in config["weight_nn_hidden_neurons"]],
        "cutoff_function": kind,
        "cutoff_start": float(function.get("cutoff_on", 4.5)),
        "cutoff_power": float(function.get("poly_cut_p_value", 6)),
    }
    rows = sorted(config["_type_map"].items())
    order = [row for _, row in rows]
    n = len(order)
    embedding = state["onehot_to_feature_x.linear.weight"].reshape(n, blocks[0][0])
    weights: Weights = {
        "embedding": embedding[order] * n**-0.5,
        "frequencies": state["edge_embedding.basis_function.coeffs"],
        "hidden": state["reduce_input_to_hidden.linear.weight"].reshape(blocks[-1][0], -1),
        "energy": state["reduce_hidden_to_energy.linear.weight"].reshape(-1, 1),
        "scale": state["rescale_atomic_energy.scale"].reshape(-1).expand(n)[order],
        "reference": state["rescale_atomic_energy.shift"].reshape(-1).expand(n)[order].double(),
        "seen": torch.ones(n, dtype=torch.bool),
        "neighbours": torch.cat(
            [state[f"{t}_convolution.denominator"].reshape(1).double() for t in range(settings["n_layers"])]
        ),
    }
    old = tuple(int(part) for part in str(config["version"]).split(".")[:2]) < (0, 11)
    for t, (inputs, outputs) in enumerate(pairwise(blocks)):
        weights |= _layer(state, t, inputs, outputs, len(blocks[1]) - 1, old)
    settings["species"] = [chemical_symbols[number] for number, _ in rows]
    return settings, {name: value.detach().clone().contiguous() for name, value in weights.items()}


def _layer(
    state: Mapping[str, Tensor], t: int, inputs: Sequence[int], outputs: Sequence[int], l_max: int, old: bool
) -> Weights:
    paths = paths_of(len(inputs), l_max, len(outputs))
    gated = [outputs[0] + sum(outputs[1:]), *outputs[1:]]
    arriving = [sum(inputs[path.source] for path in paths if path.target == l) for l in range(len(outputs))]
    found = _mixing(state[f"{t}_self_connection_intro.linear.weight"], inputs, gated, f"layers.{t}.own")
    found |= _mixing(state[f"{t}_self_interaction_1.linear.weight"], inputs, inputs, f"layers.{t}.before")
    found |= _mixing(state[f"{t}_self_interaction_2.linear.weight"], arriving, gated, f"layers.{t}.after")
    number = 0
    while (name := f"{t}_convolution.weight_nn.layer{number}.weight") in state:
        found[f"layers.{t}.radial.{number}"] = state[name]
        number += 1
    last = f"layers.{t}.radial.{number - 1}"
    stored = paths if old else sorted(paths, key=lambda path: path.target)
    parts = found[last].split([inputs[path.source] for path in stored], 1)
    by_path = dict(zip(stored, parts, strict=True))
    found[last] = torch.cat([by_path[path] * _sign(state, t, path) for path in paths], 1)
    return found


def _sign(state: Mapping[str, Tensor], t: int, path: MessagePath) -> float:
    """Sign of the couplings that the model was trained with, relative to ours: e3nn has changed some."""
    name = f"{t}_convolution.convolution._compiled_main_left_right._w3j_{path.source}_{path.filter}_{path.target}"
    if name not in state:
        return 1.0
    return float(np.sign((state[name].double().numpy() * coupling(*path)).sum()))


def _mixing(flat: Tensor, inputs: Sequence[int], outputs: Sequence[int], name: str) -> Weights:
    shapes = list(zip(inputs, outputs, strict=False))
    parts = flat.split([a * b for a, b in shapes])
    return {
        f"{name}.weight.{l}": part.reshape(shape) for l, (part, shape) in enumerate(zip(parts, shapes, strict=True))
    }


def _channels(irreps: str) -> list[int]:
    """Number of channels of each degree, of a text such as ``128x0e+64x1e``."""
    found = []
    for degree, part in enumerate(irreps.replace(" ", "").split("+")):
        count, _, kind = part.partition("x")
        if kind != f"{degree}e":
            raise KeyError(f"states {irreps}, where even ones of degrees 0, 1, 2, ... are expected")
        found.append(int(count))
    return found
