"""A model's parameters and its atoms, arranged as the fused kernel reads them: eight at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from idealflow.core.descriptors.vectors import LANES
from idealflow.forcefields.local.model import LocalModel

__all__ = ["Weights", "blocks_of", "weights_of"]

Float = NDArray[np.float64]


class Weights(NamedTuple):
    """A model's parameters as the kernel reads them; widths are padded with zeros to multiples of eight.

    Attributes
    ----------
    contraction, contraction_back : (n_species * radial width, channels width), and transposed
    mean, inverse_spread, linear : (n_species, features width)
    weights, weights_back : (n_species, total)
        Matrices of the layers one after the other, (inputs, outputs) and (outputs, inputs).
    biases : (n_species, total)
    readout : (n_species, last width)
    widths : (n_layers + 1,) int64
        Padded widths of the inputs and of each layer.
    n_channels, n_radial
        Numbers without padding.
    scale
        Energy of one unit of output, eV.

    Examples
    --------
    >>> made = weights_of(LocalModel(n_species=1, n_radial=4, n_channels=3, hidden=[5]))
    >>> made.widths.tolist(), made.contraction.shape  # 27 features
    ([32, 8], (8, 8))
    """

    contraction: Float
    contraction_back: Float
    mean: Float
    inverse_spread: Float
    linear: Float
    weights: Float
    weights_back: Float
    biases: Float
    readout: Float
    widths: NDArray[np.int64]
    n_channels: int
    n_radial: int
    scale: float


def _up(size: int) -> int:
    return -(-size // LANES) * LANES


def _padded(array: Float, *shape: int) -> Float:
    out = np.zeros(shape)
    out[tuple(slice(size) for size in array.shape)] = array
    return out


def weights_of(model: LocalModel) -> Weights:
    """Arrange the parameters of a model.

    Examples
    --------
    >>> weights_of(LocalModel(n_species=2, n_radial=4, n_channels=3, hidden=[5])).readout.shape  # padded
    (2, 8)
    """
    arrays = {name: tensor.detach().double().numpy() for name, tensor in model.state_dict().items()}
    n, n_radial, n_channels = model.n_species, model.n_radial, model.n_channels
    contraction = _padded(arrays["contraction"].reshape(n, n_radial, n_channels), n, _up(n_radial), _up(n_channels))
    contraction = np.ascontiguousarray(contraction.reshape(-1, _up(n_channels)))
    layers = [arrays[f"weights.{k}"] for k in range(len(model.weights))]
    widths = [_up(layers[0].shape[1] if layers else arrays["linear"].shape[1]), *(_up(w.shape[2]) for w in layers)]
    forward = [_padded(w, n, a, b) for w, a, b in zip(layers, widths[:-1], widths[1:], strict=True)]
    back = [np.ascontiguousarray(w.transpose(0, 2, 1)) for w in forward]
    return Weights(
        contraction,
        np.ascontiguousarray(contraction.T),
        _padded(arrays["mean"], n, widths[0]),
        _padded(1.0 / arrays["spread"], n, widths[0]),
        _padded(arrays["linear"], n, widths[0]),
        np.concatenate([w.reshape(n, -1) for w in forward] or [np.zeros((n, 0))], axis=1),
        np.concatenate([w.reshape(n, -1) for w in back] or [np.zeros((n, 0))], axis=1),
        np.concatenate(
            [_padded(arrays[f"biases.{k}"], n, widths[k + 1]) for k in range(len(layers))] or [np.zeros((n, 0))], axis=1
        ),
        _padded(arrays["readout"], n, widths[-1]),
        np.array(widths, dtype=np.int64),
        n_channels,
        n_radial,
        float(model.scale),
    )


def blocks_of(kind: NDArray[np.int64], start: int, end: int) -> NDArray[np.int64]:
    """Atoms ``start`` to ``end`` in blocks of eight of a species, (n_blocks, 8), filled up with −1.

    Examples
    --------
    >>> blocks_of(np.array([0, 1, 0]), 0, 3).tolist()
    [[0, 2, -1, -1, -1, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1, -1]]
    """
    parts = [np.zeros((0, LANES), dtype=np.int64)]
    for s in np.unique(kind[start:end]):
        mine = np.flatnonzero(kind[start:end] == s) + start
        block = np.full((-(-len(mine) // LANES), LANES), -1, dtype=np.int64)
        block.reshape(-1)[: len(mine)] = mine
        parts.append(block)
    return np.concatenate(parts)
