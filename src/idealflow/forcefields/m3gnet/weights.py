"""Weights of M3GNet as other implementations store them: matgl 4 and MatterSim 1."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from idealflow.errors import InputError
from idealflow.forcefields.m3gnet.network import VARIANTS

__all__ = ["from_matgl", "from_mattersim"]

Weights = dict[str, Tensor]

#: their name, as a pattern → ours; a number that stands for a place in a sequence is replaced by the second function
_MATGL = [
    (r"embedding\.layer_node_embedding\.weight", "atoms.weight"),
    (r"embedding\.layer_edge_embedding\.layers\.0\.(weight|bias)", r"pairs.\1"),
    (r"three_body_interactions\.(\d+)\.update_network_atom\.layers\.0\.(weight|bias)", r"blocks.\1.third_gate.\2"),
    (
        r"three_body_interactions\.(\d+)\.update_network_bond\.layers\.0\.weight",
        r"blocks.\1.third_atoms.value.0.weight",
    ),
    (r"three_body_interactions\.(\d+)\.update_network_bond\.gates\.0\.weight", r"blocks.\1.third_atoms.gate.0.weight"),
    (r"graph_layers\.(\d+)\.conv\.edge_update_func\.layers\.(\d+)\.(\w+)", r"blocks.\1.pair_update.value.<\2>.\3"),
    (r"graph_layers\.(\d+)\.conv\.edge_update_func\.gates\.(\d+)\.(\w+)", r"blocks.\1.pair_update.gate.<\2>.\3"),
    (r"graph_layers\.(\d+)\.conv\.edge_weight_func\.weight", r"blocks.\1.pair_weight.weight"),
    (r"graph_layers\.(\d+)\.conv\.node_update_func\.layers\.(\d+)\.(\w+)", r"blocks.\1.atom_update.value.<\2>.\3"),
    (r"graph_layers\.(\d+)\.conv\.node_update_func\.gates\.(\d+)\.(\w+)", r"blocks.\1.atom_update.gate.<\2>.\3"),
    (r"graph_layers\.(\d+)\.conv\.node_weight_func\.weight", r"blocks.\1.atom_weight.weight"),
    (r"final_layer\.gated\.layers\.(\d+)\.(\w+)", r"final.value.<\1>.\2"),
    (r"final_layer\.gated\.gates\.(\d+)\.(\w+)", r"final.gate.<\1>.\2"),
]
_MATTERSIM = [
    (r"edge_encoder\.mlp\.0\.linear\.weight", "pairs.weight"),
    (r"graph_conv\.(\d+)\.three_body\.atom_mlp\.linear\.(\w+)", r"blocks.\1.third_gate.\2"),
    (r"graph_conv\.(\d+)\.three_body\.edge_gate_mlp\.g\.0\.linear\.weight", r"blocks.\1.third_atoms.value.0.weight"),
    (r"graph_conv\.(\d+)\.three_body\.edge_gate_mlp\.sigma\.0\.linear\.weight", r"blocks.\1.third_atoms.gate.0.weight"),
    (r"graph_conv\.(\d+)\.gated_mlp_edge\.g\.(\d+)\.linear\.(\w+)", r"blocks.\1.pair_update.value.\2.\3"),
    (r"graph_conv\.(\d+)\.gated_mlp_edge\.sigma\.(\d+)\.linear\.(\w+)", r"blocks.\1.pair_update.gate.\2.\3"),
    (r"graph_conv\.(\d+)\.edge_layer_edge\.linear\.weight", r"blocks.\1.pair_weight.weight"),
    (r"graph_conv\.(\d+)\.gated_mlp_atom\.g\.(\d+)\.linear\.(\w+)", r"blocks.\1.atom_update.value.\2.\3"),
    (r"graph_conv\.(\d+)\.gated_mlp_atom\.sigma\.(\d+)\.linear\.(\w+)", r"blocks.\1.atom_update.gate.\2.\3"),
    (r"graph_conv\.(\d+)\.edge_layer_atom\.linear\.weight", r"blocks.\1.atom_weight.weight"),
    (r"final\.g\.(\d+)\.linear\.(\w+)", r"final.value.\1.\2"),
    (r"final\.sigma\.(\d+)\.linear\.(\w+)", r"final.gate.\1.\2"),
]
#: what carries no weights: constants of the basis, and what the callers below take apart themselves
_MATGL_REST = r"(bond_expansion|basis_expansion)\..*|_eye3|data_mean|data_std|element_refs\..*"
_MATTERSIM_REST = r"(rbf|sbf)\..*|atom_embedding\..*|normalizer\..*"


def from_matgl(
    state: Mapping[str, Tensor],
    elements: Sequence[str],
    *,
    variant: str | None = None,
    max_n: int | None = None,
    three_body_cutoff: float = 4.0,
) -> tuple[dict[str, Any], Weights]:
    """Settings and weights of :class:`~idealflow.forcefields.m3gnet.M3GNetForceField` from the state of matgl's model.

    Parameters
    ----------
    state
        ``state_dict()`` of matgl's ``M3GNet(is_intensive=False)``, or of the ``Potential`` around it.
    elements
        The model's ``element_types``.
    variant
        ``matgl`` or ``matgl-smooth``; None infers it from the number of radial functions. (``paper`` for a model whose three-body
        basis was replaced by matgl's ``SphericalBesselWithHarmonics(use_smooth=False)``.)
    max_n
        Number of radial functions of each degree; None for as many as degrees, where radial functions do not tell.
    three_body_cutoff
        Å; matgl keeps it outside the state.

    Returns
    -------
    settings
        Arguments of the force field.
    weights
        State of its network.

    Raises
    ------
    InputError
        For a name that is no part of such a model, a mean that is added once a structure, or shapes that do not fit.

    Examples
    --------
    >>> from_matgl({"lin.weight": torch.zeros(1)}, ["Cu"])
    Traceback (most recent call last):
    idealflow.errors.InputError: no M3GNet of matgl with the head of a potential: it has no '...'
    """
    inner = {name.removeprefix("model."): value for name, value in state.items()}
    _require(inner, "embedding.layer_node_embedding.weight", "matgl")
    weights = _renamed(inner, _MATGL, _MATGL_REST, "matgl")
    for name in list(weights):
        if match := re.search(r"<(\d+)>", name):  # their sequences hold activations between the layers
            weights[name.replace(match[0], str(int(match[1]) // 2))] = weights.pop(name)
    if float(torch.as_tensor(inner.get("data_mean", 0.0)).abs().max()) > 0.0:
        raise InputError(
            "this model of matgl adds a mean once a structure, which is no sum over atoms; set data_mean to 0 and put it into "
            "element_refs"
        )
    n = len(elements)
    if len(weights["atoms.weight"]) != n:
        raise InputError(f"the model knows {len(weights['atoms.weight'])} elements, got {n}; give its element_types")
    offsets = inner.get("element_refs.property_offset", torch.zeros(n)).double()
    weights |= {
        "scale": torch.as_tensor(inner.get("data_std", 1.0)).float().reshape(-1)[:1].expand(n).clone(),
        "reference": offsets.reshape(-1)[:n].clone(),
    }
    n_radial, n_angular = weights["pairs.weight"].shape[1], len(weights["blocks.0.third_gate.weight"])
    variant = variant or ("matgl" if n_radial == n_angular else "matgl-smooth")
    max_n = max_n or (math.isqrt(n_radial) if VARIANTS[variant].radial == "bessel" else n_radial)
    cutoff = float(inner.get("bond_expansion.rbf.cutoff", 5.0))
    return _made(weights, list(elements), variant, cutoff, three_body_cutoff, max_n, n_angular // max_n)


def from_mattersim(state: Mapping[str, Tensor], *, three_body_cutoff: float = 4.0) -> tuple[dict[str, Any], Weights]:
    """Settings and weights of :class:`~idealflow.forcefields.m3gnet.M3GNetForceField` from the state of MatterSim's model.

    Parameters
    ----------
    state
        ``state_dict()`` of MatterSim's ``M3Gnet``, which stands under ``model`` in its checkpoints.
    three_body_cutoff
        Å; in its checkpoints it stands under ``model_args``.

    Returns
    -------
    settings, weights
        As of :func:`from_matgl`.

    Raises
    ------
    InputError
        For a name that is no part of such a model, shapes that do not fit, or another number of radial functions than of degrees.

    Examples
    --------
    >>> from_mattersim({})
    Traceback (most recent call last):
    idealflow.errors.InputError: no M3GNet of MatterSim with the head of a potential: it has no '...'
    """
    embedding = _require(state, "atom_embedding.mlp.0.linear.weight", "MatterSim")
    weights = _renamed(state, _MATTERSIM, _MATTERSIM_REST, "MatterSim")
    n = embedding.shape[1]
    known = slice(1, n)  # atomic numbers from 1 on
    weights |= {
        "atoms.weight": embedding.T[known].clone(),
        "scale": state["normalizer.scale"][known].clone(),
        "reference": state["normalizer.shift"][known].double(),
    }
    max_n, n_angular = weights["pairs.weight"].shape[1], len(weights["blocks.0.third_gate.weight"])
    if n_angular != max_n**2:
        raise InputError(
            f"MatterSim mixes up numbers of radial functions and degrees where they differ, here {max_n} and "
            f"{n_angular // max_n}; such a model is not read"
        )
    cutoff = float(state["rbf.r_max"])
    return _made(weights, chemical_symbols[known], "mattersim", cutoff, three_body_cutoff, max_n, max_n)


def _made(
    weights: Weights,
    species: list[str],
    variant: str,
    cutoff: float,
    three_body_cutoff: float,
    max_n: int,
    max_l: int,
) -> tuple[dict[str, Any], Weights]:
    order = sorted(range(len(species)), key=lambda i: chemical_symbols.index(species[i]))
    for name in ("atoms.weight", "scale", "reference"):
        weights[name] = weights[name][order]
    weights["seen"] = torch.ones(len(species), dtype=torch.bool)
    blocks = {int(match[1]) for name in weights if (match := re.match(r"blocks\.(\d+)\.", name))}
    settings = {
        "species": [species[i] for i in order],
        "n_blocks": len(blocks),
        "units": weights["atoms.weight"].shape[1],
        "cutoff": cutoff,
        "three_body_cutoff": three_body_cutoff,
        "max_n": max_n,
        "max_l": max_l,
        "variant": variant,
    }
    return settings, weights


def _require(state: Mapping[str, Tensor], name: str, whose: str) -> Tensor:
    if name not in state:
        raise InputError(f"no M3GNet of {whose} with the head of a potential: it has no {name!r}")
    return state[name]


def _renamed(state: Mapping[str, Tensor], names: Sequence[tuple[str, str]], rest: str, whose: str) -> Weights:
    """Weights under our names."""
    found: Weights = {}
    for name, value in state.items():
        for pattern, ours in names:
            if match := re.fullmatch(pattern, name):
                found[match.expand(ours)] = value.detach().clone()
                break
        else:
            if not re.fullmatch(rest, name):
                raise InputError(f"no M3GNet of {whose} with the head of a potential: {name!r} is no part of one")
    return found
