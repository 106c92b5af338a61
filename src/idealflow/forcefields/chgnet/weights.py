"""Weights of CHGNet as the package ``chgnet`` stores and ships them, read without importing it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from idealflow.errors import InputError
from idealflow.forcefields.shipped import ShippedWeights, read_as_data, translated_as

__all__ = ["SHIPPED", "from_chgnet", "shipped_file"]

Weights = dict[str, Tensor]

#: name → file among the pretrained ones in the wheel of ``chgnet``
SHIPPED = {
    "chgnet-0.3.0": "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "chgnet-r2scan": "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
}
_OLD = (
    "the weights chgnet-0.2.0 add a constant to every bond of a structure that has an angle anywhere, which is no sum over "
    "atoms; take chgnet-0.3.0"
)
#: what other models of chgnet may have and this network has not, by the name in their settings
_NEEDED: dict[str, Any] = {
    "gMLP_norm": "layer",
    "readout_norm": "layer",
    "conv_norm": None,
    "mlp_first": True,
    "is_intensive": True,
    "non_linearity": "silu",
    "update_bond": True,
    "update_angle": True,
    "angle_layer_hidden_dim": 0,
    "final_mlp": "MLP",
    "mlp_out_bias": False,
}
_GATED = (
    (r"mlp_core\.layers\.(\d)\.(weight|bias)", "value"),
    (r"mlp_gate\.layers\.(\d)\.(weight|bias)", "gate"),
    (r"bn1\.(weight|bias)", "value_norm"),
    (r"bn2\.(weight|bias)", "gate_norm"),
)
_PLAIN = {
    "atom_embedding.embedding.weight": "atoms.weight",
    "bond_basis_expansion.rbf_expansion_ag.frequencies": "frequencies",
    "bond_basis_expansion.rbf_expansion_bg.frequencies": "near_frequencies",
    "angle_basis_expansion.fourier_expansion.frequencies": "angular_frequencies",
    "bond_embedding.weight": "bonds.weight",
    "bond_weights_ag.weight": "weight.weight",
    "bond_weights_bg.weight": "near_weight.weight",
    "angle_embedding.weight": "angles.weight",
    "readout_norm.weight": "norm.weight",
    "readout_norm.bias": "norm.bias",
}
_READ = "chgnet's checkpoint"
#: no structure of the Materials Project's relaxations, from which CHGNet learned, holds these
_UNSEEN = ("Po", "At", "Rn", "Fr", "Ra")


def shipped_file(name: str) -> Path:
    """Path of weights that the wheel of ``chgnet`` ships.

    Raises
    ------
    InputError
        For a name that it does not ship, and for 0.2.0, whose energy is no sum over atoms.
    MissingExtraError
        If the package is not installed; the message holds the pip command.

    Examples
    --------
    >>> shipped_file("chgnet-0.4.0")
    Traceback (most recent call last):
    idealflow.errors.InputError: no weights of CHGNet are called 'chgnet-0.4.0' (did you mean 'chgnet-0.3.0'?); known: ...
    >>> shipped_file("chgnet-0.2.0")
    Traceback (most recent call last):
    idealflow.errors.InputError: the weights chgnet-0.2.0 add a constant to every bond of a structure that has an angle ...
    """
    if name == "chgnet-0.2.0":
        raise InputError(_OLD)
    return ShippedWeights("CHGNet", "chgnet", "chgnet", "pretrained", SHIPPED).path(name)


def from_chgnet(path: str | Path) -> tuple[dict[str, Any], Weights]:
    """Settings and weights of a :class:`~idealflow.forcefields.chgnet.CHGNetForceField` from a checkpoint of chgnet.

    Nothing of the file is run: it is read as data. What computes magnetic moments is left out.

    Parameters
    ----------
    path
        Checkpoint of chgnet 0.3 or later, with normalised layers (all since 0.3.0).

    Returns
    -------
    settings
        Arguments of the force field.
    weights
        State of its network. Its species are those of the structures from which CHGNet learned.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, or no checkpoint.
    InputError
        For a model that this network is not.

    Examples
    --------
    >>> from_chgnet("absent.pth.tar")
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: absent.pth.tar does not exist; expected chgnet's checkpoint
    """
    return translated_as("CHGNet", path, _translated, *read_as_data(Path(path), _READ, _read))


def _read(path: Path) -> tuple[dict[str, Any], Weights]:
    model = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return dict(model["model_args"]), dict(model["state_dict"])


def _translated(config: Mapping[str, Any], state: Mapping[str, Tensor], path: str) -> tuple[dict[str, Any], Weights]:
    for name, value in _NEEDED.items():
        if config.get(name, value) != value:
            raise InputError(f"{path} holds a CHGNet with {name} = {config[name]!r}, only {value!r} is read here")
    if "composition_model.fc.weight" not in state:
        raise InputError(f"{path} holds a CHGNet without energies of the species, which is not read here")
    energies = state["composition_model.fc.weight"][0].double()
    symbols = chemical_symbols[1 : 1 + len(energies)]
    rows = torch.tensor([row for row, symbol in enumerate(symbols) if symbol not in _UNSEEN])
    weights: Weights = {"scale": torch.ones(len(energies)), "reference": energies}
    weights["seen"] = torch.ones(len(energies), dtype=torch.bool)
    weights |= {ours: state[theirs] for theirs, ours in _PLAIN.items()}
    n_layers = int(config["n_conv"])
    for name, value in state.items():
        if (ours := _in_a_layer(name, n_layers)) is not None:
            weights[ours] = value
    final = sorted({int(match[1]) for name in state if (match := re.fullmatch(r"mlp\.layers\.(\d+)\.weight", name))})
    for number, theirs in enumerate(final):
        weights |= {f"final.{number}.{part}": state[f"mlp.layers.{theirs}.{part}"] for part in ("weight", "bias")}
    settings: dict[str, Any] = {
        "species": [symbols[int(row)] for row in rows],
        "n_layers": n_layers,
        "units": weights["atoms.weight"].shape[1],
        "cutoff": float(config["atom_graph_cutoff"]),
        "three_body_cutoff": float(config["bond_graph_cutoff"]),
        "n_radial": len(weights["frequencies"]),
        "n_angular": weights["angles.weight"].shape[1],
        "cutoff_power": float(config["cutoff_coeff"]),
        "n_hidden": len(final) - 1,
    }
    for name in ("atoms.weight", "scale", "reference", "seen"):
        weights[name] = weights[name][rows]
    return settings, {name: value.detach().clone().contiguous() for name, value in weights.items()}


def _in_a_layer(name: str, n_layers: int) -> str | None:
    """Our name of a weight of a layer; None for others, and for the last update of angles, which nothing uses."""
    match = re.fullmatch(r"(atom_conv|bond_conv|angle)_layers\.(\d+)\.(\w+)\.(.*)", name)
    if match is None or (match[1] == "angle" and int(match[2]) == n_layers - 2):
        return None
    layer = f"{match[1].removesuffix('_conv')}_layers.{match[2]}"
    if match[3] == "mlp_out":
        return f"{layer}.out.weight" if match[4] == "layers.1.weight" else f"{layer}.{match[4]}"
    for pattern, part in _GATED:
        if found := re.fullmatch(pattern, match[4]):
            if "norm" in part:
                return f"{layer}.message.{part}.{found[1]}"
            return f"{layer}.message.{part}.{1 if found[1] == '3' else 0}.{found[2]}"
    return f"{layer}.{match[4]}"
