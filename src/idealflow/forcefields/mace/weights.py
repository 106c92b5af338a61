"""Models of ``mace-torch`` as ``mace_run_train`` and ``torch.save`` store them: their settings and weights, read as data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from idealflow.errors import InputError
from idealflow.forcefields.mace.network import MACENetwork
from idealflow.forcefields.mace.pickled import Stored, read_module

__all__ = ["from_mace"]

Weights = dict[str, Tensor]

_BLOCKS = ("node_embedding.", "radial_embedding.", "interactions.", "products.", "readouts.")
_RESIDUAL, _PLAIN = "RealAgnosticResidualInteractionBlock", "RealAgnosticInteractionBlock"
#: attributes that newer models may have and this network has not, with the values that it has
_NEEDED = {
    "use_so3": False,
    "use_agnostic_product": False,
    "use_last_readout_only": False,
    "use_edge_irreps_first": False,
    "apply_cutoff": True,
    "edge_irreps": None,
    "pair_repulsion_fn": None,
    "joint_embedding": None,
    "embedding_readout": None,
}
_WORDS = {"pair_repulsion_fn": "a repulsion of pairs (ZBL)"}


def from_mace(path: str | Path) -> tuple[dict[str, Any], Weights]:
    """Settings and weights of a :class:`~idealflow.forcefields.mace.MACEForceField` from a model of ``mace-torch``.

    Nothing of the file is run: it is read as data. Weights in double precision become single ones, in which this package learns.

    Parameters
    ----------
    path
        ``NAME.model`` of ``mace_run_train``, not the compiled one: a ``ScaleShiftMACE`` (also of ``--model MACE``) with one head,
        Bessel functions, and no repulsion of pairs.

    Returns
    -------
    settings
        Arguments of the force field.
    weights
        State of its network.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, or no whole model.
    InputError
        For a model that this network is not, and for a compiled one.
    MissingExtraError
        Without ``mace-torch``, whose blocks the network is made of.

    Examples
    --------
    >>> from_mace("absent.model")
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: absent.model does not exist; expected a model that torch saved whole
    """
    model = read_module(path)
    if model.kind not in ("ScaleShiftMACE", "MACE"):
        raise InputError(
            f"{path} holds a {model.kind}; of models that torch saved whole, only a ScaleShiftMACE is read here"
        )
    try:
        settings = _settings(model, str(path))
        weights = _weights(model, settings, str(path))
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        cause = " ".join(str(error).split())
        raise InputError(f"{path} is no model of mace-torch that can be read here: {cause}") from error
    return settings, weights


def _settings(model: Stored, path: str) -> dict[str, Any]:
    for name, value in _NEEDED.items():
        if model.get(name, value) != value:
            what = _WORDS.get(name, f"{name} = {model.get(name)!r}" if value is not None else name)
            raise InputError(f"{path} holds a MACE with {what}, which is not read here")
    if len(model.get("heads") or ["Default"]) != 1:
        raise InputError(f"{path} holds a MACE with the heads {', '.join(model['heads'])}; give one with one head")
    blocks, products, readouts = (model[name].parts() for name in ("interactions", "products", "readouts"))
    kinds = [block.kind for block in blocks]
    if kinds[0] not in (_RESIDUAL, _PLAIN) or any(kind != _RESIDUAL for kind in kinds[1:]):
        raise InputError(f"{path} holds a MACE with the interactions {', '.join(kinds)}; {_RESIDUAL} is read here")
    last = readouts[-1]
    if last.kind != "NonLinearReadoutBlock" or _activation(last) != "silu":
        raise InputError(
            f"{path} holds a MACE with the readout {last.kind}; a NonLinearReadoutBlock of silu is read here"
        )
    radial = model["radial_embedding"]
    if radial["bessel_fn"].kind != "BesselBasis":
        raise InputError(f"{path} holds a MACE with the radial functions {radial['bessel_fn'].kind}, not BesselBasis")
    transform = radial.get("distance_transform")
    channels, degree = _channels(products[0]["linear"]["irreps_out"], path)
    correlations = {_correlation(product) for product in products}
    if len(correlations) != 1:
        raise InputError(f"{path} holds a MACE whose layers have different correlations, which is not read here")
    return {
        "species": [chemical_symbols[int(number)] for number in model["atomic_numbers"]],
        "channels": channels,
        "degree": degree,
        "l_max": int(model["spherical_harmonics"]["_lmax"]),
        "correlation": correlations.pop(),
        "n_layers": len(blocks),
        "cutoff": float(model["r_max"]),
        "n_radial": len(radial["bessel_fn"]["bessel_weights"]),
        "radial_hidden": [int(width) for width in list(blocks[0]["conv_tp_weights"]["hs"])[1:-1]],
        "readout": sum(count for count, *_ in _irreps(last["hidden_irreps"])),
        "cutoff_power": int(radial["cutoff_fn"]["p"]),
        "residual": kinds[0] == _RESIDUAL,
        "distance_transform": None if transform is None else transform.kind.removesuffix("Transform"),
        "reduced": bool(model.get("use_reduced_cg", False)),
    }


def _weights(model: Stored, settings: dict[str, Any], path: str) -> Weights:
    """The state of a network with these settings, its parameters those of the file; constants must be the same in both."""
    own = {name: value for name, value in settings.items() if name != "species"}
    numbers = [int(number) for number in model["atomic_numbers"]]
    if sorted(numbers) != numbers:
        raise InputError(f"{path} holds a MACE whose elements are not in the order of their numbers")
    network = MACENetwork(numbers, **own)
    state: Weights = dict(network.state_dict())
    stored = {name: value for name, value in model.tensors("_parameters") if name.startswith(_BLOCKS)}
    expected = {name for name, _ in network.named_parameters()}
    if expected != set(stored):
        odd = sorted(expected.symmetric_difference(stored))
        raise InputError(f"{path} holds a MACE with other parameters than its settings ask for: {', '.join(odd[:4])}")
    for name, value in model.tensors("_buffers"):
        if name.startswith(_BLOCKS) and name in state and "_compiled" not in name and "graph_opt" not in name:
            ours = state[name]
            if ours.shape != value.shape or not torch.allclose(ours.double(), value.double(), rtol=0, atol=1e-5):
                raise InputError(f"{path} was made by another version of mace-torch or e3nn: {name} differs")
    n = len(numbers)
    scale, shift = (
        model["scale_shift"].get(name, torch.tensor(default)).reshape(-1)[0].double() for name, default in _SCALES
    )
    state |= {name: value.float() for name, value in stored.items()}
    state["scale"] = scale.float().expand(n).clone()
    state["reference"] = model["atomic_energies_fn"]["atomic_energies"].double().reshape(-1)[:n] + shift
    state["seen"] = torch.ones(n, dtype=torch.bool)
    averages = {float(block["avg_num_neighbors"]) for block in model["interactions"].parts()}
    if len(averages) != 1:
        raise InputError(f"{path} holds a MACE whose layers have different mean numbers of neighbours")
    state["neighbours"] = torch.tensor(averages.pop(), dtype=torch.float64)
    return state


_SCALES = (("scale", 1.0), ("shift", 0.0))


def _activation(readout: Stored) -> str:
    act = readout["non_linearity"]["acts"]
    first = (act.parts() if isinstance(act, Stored) else list(act))[0]
    function = first.get("f", first) if isinstance(first, Stored) else first
    return str(getattr(function, "kind", function))


def _correlation(product: Stored) -> int:
    (contraction, *_) = product["symmetric_contractions"]["contractions"].parts()
    return 1 + len(contraction["weights"]["_parameters"])


def _channels(irreps: Any, path: str) -> tuple[int, int]:
    """Channels of each degree, and the highest degree, of states such as 128x0e+128x1o."""
    found = list(_irreps(irreps))
    counts = {count for count, *_ in found}
    if len(counts) != 1 or [(l, p) for _, l, p in found] != [(l, (-1) ** l) for l in range(len(found))]:
        text = "+".join(f"{count}x{l}{'e' if p == 1 else 'o'}" for count, l, p in found)
        raise InputError(f"{path} holds a MACE with the states {text}; as many of each degree are read here")
    return counts.pop(), len(found) - 1


def _irreps(stored: Any) -> Iterator[tuple[int, int, int]]:
    """Count, degree and parity of each part of stored irreps."""
    for part in _flat(stored):
        count, irrep = _flat(part)
        l, p = _flat(irrep)
        yield int(count), int(l), int(p)


def _flat(stored: Any) -> list[Any]:
    """What a stored tuple holds, whether it was made from a tuple or from its members."""
    arguments = stored.arguments
    return list(arguments[0] if len(arguments) == 1 and isinstance(arguments[0], tuple | list) else arguments)
