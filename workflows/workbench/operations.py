"""How many operations the formulas of the engine and of the built-in force field take, and what they would take at best.

An operation is a sum, a product, a quotient, a root or an exponential; a multiply-add is two. What these formulas need is counted
once. What is computed again to save memory, what is padded with zeros, and the search for neighbours, which is no arithmetic, are
left out: a program that wastes nothing takes so many operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from workbench.timing import cpu_seconds

#: a spline of degree 5, and its slope: a multiply-add for each degree
SPLINE, SPLINE_SLOPE = 10, 8
#: a solid harmonic by recursion; its part of a pair's slope, along the pair (2) and by components
HARMONIC, HARMONIC_SLOPE = 4, 10
#: one of the force field's radial functions and its slope: recursions of T_n (2) and T_n' (4), times the envelope (1 and 3)
CHEBYSHEV = 10
#: all sixteen of the force field's harmonics, and the gradient of a sum of them
HARMONICS, HARMONICS_SLOPE, N_LM = 43, 89, 16
#: what is left of its pair: unit vector (5), envelope (16), slope (17), virial (15), forces (6)
PAIR = 59
#: a unit of its network: x · sigmoid(x) and its slope, with the bias (10), and the way back through it (1); alone, without slope
#: and way back
UNIT, UNIT_ALONE = 11, 6
#: of a gradient step's pair: its part of forces and virial, and the densities' derivative along the motion of its atoms, without
#: what is in proportion to its functions (the harmonics' gradient and derivative are counted by themselves)
FORCE_PAIR, MOVED_PAIR, HARMONICS_ALONG = 45, 35, 80
#: the loss of an atom's forces, and its slope
LOSS = 21
#: a unit's second derivative, and what goes forward and back through it
UNIT_AGAIN = 13
#: a weight in a step of Adam, with the gradient's length
ADAM = 15
#: of a number in double precision, and in single
NUMBER, SINGLE = 8, 4


def soap_pair(n_max: int, l_max: int) -> int:
    """A pair of a SOAP density: its radial functions, its harmonics, a multiply-add for each coefficient.

    Examples
    --------
    >>> soap_pair(8, 6)
    1540
    """
    angular = (l_max + 1) ** 2
    return SPLINE * n_max * (l_max + 1) + HARMONIC * angular + 2 * n_max * angular


def soap_pair_slope(n_max: int, l_max: int) -> int:
    """The way back to a pair's vector: slopes of its functions, and the coefficients' gradient times functions and slopes."""
    angular = (l_max + 1) ** 2
    return SPLINE_SLOPE * n_max * (l_max + 1) + HARMONIC_SLOPE * angular + 4 * n_max * angular


def soap_spectrum(n_max: int, l_max: int, n_species: int) -> int:
    """An atom's power spectrum: each product of two of n_species · n_max functions once, summed over m."""
    functions = n_species * n_max
    return functions * (functions + 1) * (l_max + 1) ** 2


def soap_spectrum_slope(n_max: int, l_max: int, n_species: int) -> int:
    """The way back through it: for each l a symmetric matrix of all functions, times the coefficients."""
    return 2 * (n_species * n_max) ** 2 * (l_max + 1) ** 2


def soap_values(n_max: int, l_max: int, n_species: int, n_pairs: float) -> float:
    """An atom's descriptor, with so many neighbours."""
    return n_pairs * soap_pair(n_max, l_max) + soap_spectrum(n_max, l_max, n_species)


def soap_slopes(n_max: int, l_max: int, n_species: int, n_pairs: float) -> float:
    """The gradient of a scalar of an atom's descriptor in the vectors to so many neighbours, once the descriptor is there."""
    return n_pairs * soap_pair_slope(n_max, l_max) + soap_spectrum_slope(n_max, l_max, n_species)


def distance(directions: float, features: int, apart: float = 0) -> float:
    """A squared distance by its projections on so many directions, with features that weigh more; its gradient takes as many."""
    return 2.0 * directions * (features + apart)


def force_field(neighbours: float, n_radial: int, n_channels: int, hidden: Sequence[int], n_species: int = 1) -> float:
    """An atom's energy by the built-in force field, its slopes along so many neighbours, forces and virial."""
    functions, products, features = sizes(n_radial, n_channels, n_species)
    pair = CHEBYSHEV * n_radial + HARMONICS + HARMONICS_SLOPE + PAIR + 6 * N_LM * n_radial + 2 * N_LM
    channels = 4 * N_LM * functions * n_channels  # from densities, and back
    invariants = 2 * N_LM * products + 2 * N_LM * n_channels**2 + 2 * 4 * products  # and back, each with its factor
    layers = 4 * between(features, hidden) + UNIT * sum(hidden)
    ends = 7 * features + 2 * hidden[-1]  # means and spreads, there and back; the linear part; the last layer
    return neighbours * pair + channels + invariants + layers + ends


def learned_energy(n_radial: int, n_channels: int, hidden: Sequence[int], n_species: int = 1) -> int:
    """An atom's energy from its densities, which training keeps."""
    functions, products, features = sizes(n_radial, n_channels, n_species)
    dense, ends = between(features, hidden), 4 * features + 2 * hidden[-1]
    return 2 * N_LM * (functions * n_channels + products) + 4 * products + 2 * dense + UNIT_ALONE * sum(hidden) + ends


def learned_forces(
    neighbours: float, n_radial: int, n_channels: int, hidden: Sequence[int], n_species: int = 1
) -> float:
    """An atom's energy, forces and virial, from densities and functions of pairs that training keeps, and the loss of them."""
    functions, products, features = sizes(n_radial, n_channels, n_species)
    back = 2 * between(features, hidden) + (UNIT - UNIT_ALONE) * sum(hidden) + 2 * features
    back += 4 * products + 2 * N_LM * n_channels**2 + 2 * N_LM * functions * n_channels
    pair = 4 * N_LM * n_radial + 2 * N_LM + HARMONICS_SLOPE + FORCE_PAIR
    return learned_energy(n_radial, n_channels, hidden, n_species) + back + neighbours * pair + LOSS


def gradient_step(
    neighbours: float, n_radial: int, n_channels: int, hidden: Sequence[int], n_species: int = 1
) -> float:
    """An atom's part of a gradient step: energy and forces, and the gradient of their loss in the weights.

    The derivative of densities and energies along a motion, forwards, and one pass back through both
    (``idealflow.forcefields.local.gradient``).
    """
    functions, products, features = sizes(n_radial, n_channels, n_species)
    pair = 4 * N_LM * n_radial + n_radial + HARMONICS_ALONG + MOVED_PAIR
    channels = (
        2 * N_LM * functions * n_channels + 2 * 2 * N_LM * functions * n_channels
    )  # along the motion; their own gradient
    invariants = 4 * N_LM * products + 4 * products + 4 * products + 2 * 2 * N_LM * n_channels**2
    layers = (2 + 4 + 2) * between(features, hidden) + UNIT_AGAIN * sum(hidden)  # along, the weights' gradient, back
    ends = 7 * features + 4 * hidden[-1]
    again = channels + invariants + layers + ends + neighbours * pair
    return learned_forces(neighbours, n_radial, n_channels, hidden, n_species) + again


def sizes(n_radial: int, n_channels: int, n_species: int) -> tuple[int, int, int]:
    """Functions of an atom's densities, products of channels, and invariants."""
    products = n_channels * (n_channels + 1) // 2
    return n_species * n_radial, products, n_channels + 4 * products


def between(features: int, hidden: Sequence[int]) -> int:
    """Weights between the layers of a network."""
    return sum(before * after for before, after in pairwise([features, *hidden]))


def learned_bytes(neighbours: float, n_radial: int, n_species: int = 1) -> float:
    """What a gradient step reads of an atom: each pair's functions, slopes, harmonics, vector and neighbour; its densities."""
    return SINGLE * (neighbours * (2 * n_radial + N_LM + 3 + 1) + N_LM * n_species * n_radial)


class Rates(NamedTuple):
    """What this core reaches: operations per second of a matrix product, and bytes per second of a copy in memory."""

    operations: float
    memory: float

    @classmethod
    def measured(cls, dtype: type[np.floating] = np.float64) -> Rates:
        """Measure both, the product in this precision; about a second."""
        with threadpool_limits(1):
            return cls(matrix_product_rate(dtype), copy_rate())

    def floor(self, operations: float, n_bytes: float) -> dict[str, float]:
        """Microseconds that so many operations and bytes of an atom would take, beside both rates."""
        return {
            "kflop": 1e-3 * operations, "bytes": n_bytes,
            "operations_us": 1e6 * operations / self.operations, "bytes_us": 1e6 * n_bytes / self.memory,
            "product_gflops": 1e-9 * self.operations, "copy_gb_s": 1e-9 * self.memory,
        }  # fmt: skip


def matrix_product_rate(dtype: type[np.floating] = np.float64) -> float:
    """Operations per second of this core's product of large matrices."""
    a = np.random.default_rng(0).normal(size=(1_000, 1_000)).astype(dtype)
    a @ a
    return 2e9 / min(cpu_seconds(lambda: a @ a) for _ in range(7))


def copy_rate() -> float:
    """Bytes per second, read and written, of a copy of 128 MB."""
    a = np.ones(16_000_000)
    b = np.empty_like(a)
    np.copyto(b, a)
    return 2 * a.nbytes / min(cpu_seconds(lambda: np.copyto(b, a)) for _ in range(7))
