"""Spherical harmonics in real form, and how two sets of them couple to a third: the conventions of e3nn, in closed form."""

from __future__ import annotations

from functools import cache
from math import factorial, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["coupling", "harmonics"]


@cache
def coupling(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Coefficients (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) that couple real harmonics of degrees l1 and l2 to those of degree l3.

    Clebsch–Gordan coefficients by Racah's formula, in the real basis, divided by their norm.

    Examples
    --------
    Two vectors couple to their scalar product:

    >>> coupling(1, 1, 0)[:, :, 0].round(4).tolist()
    [[0.5774, 0.0, 0.0], [0.0, 0.5774, 0.0], [0.0, 0.0, 0.5774]]
    """
    complex_form = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                complex_form[l1 + m1, l2 + m2, l3 + m1 + m2] = _clebsch_gordan(l1, m1, l2, m2, l3, m1 + m2)
    one, two, three = (_real_to_complex(degree) for degree in (l1, l2, l3))
    found = np.einsum("ij,kl,mn,ikn->jlm", one, two, three.conj().T, complex_form).real
    real: NDArray[np.float64] = found / np.linalg.norm(found)
    return real


def _clebsch_gordan(j1: int, m1: int, j2: int, m2: int, j3: int, m3: int) -> float:
    lowest = max(-j1 + j2 + m3, -j1 + m1, 0)
    highest = min(j2 + j3 + m1, j3 - j1 + j2, j3 + m3)
    f = factorial
    front = (2 * j3 + 1) * f(j3 + j1 - j2) * f(j3 - j1 + j2) * f(j1 + j2 - j3) * f(j3 + m3) * f(j3 - m3)
    below = f(j1 + j2 + j3 + 1) * f(j1 - m1) * f(j1 + m1) * f(j2 - m2) * f(j2 + m2)
    total = sum(
        (-1) ** (v + j2 + m2)
        * f(j2 + j3 + m1 - v)
        * f(j1 - m1 + v)
        / (f(v) * f(j3 - j1 + j2 - v) * f(j3 + m3 - v) * f(v + j1 - j2 - m3))
        for v in range(lowest, highest + 1)
    )
    return float(sqrt(front / below) * total)


def _real_to_complex(degree: int) -> NDArray[np.complex128]:
    change = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=complex)
    for m in range(-degree, 0):
        change[degree + m, degree - m] = 1 / sqrt(2)
        change[degree + m, degree + m] = -1j / sqrt(2)
    change[degree, degree] = 1
    for m in range(1, degree + 1):
        change[degree + m, degree + m] = (-1) ** m / sqrt(2)
        change[degree + m, degree - m] = 1j * (-1) ** m / sqrt(2)
    return np.asarray((-1j) ** degree * change)


def harmonics(vec: Tensor, l_max: int) -> list[Tensor]:
    """Real harmonics of the directions of vectors (n, 3), one tensor (n, 2 l + 1) a degree, each of mean square 1.

    Examples
    --------
    >>> [each.round(decimals=3).tolist() for each in harmonics(torch.tensor([[0.0, 2.0, 0.0]]).double(), 2)]
    [[[1.0]], [[0.0, 1.732, 0.0]], [[0.0, 0.0, 2.236, 0.0, 0.0]]]
    """
    ones = torch.ones_like(vec[:, :1])
    found = [ones]
    if l_max == 0:
        return found
    unit = vec / vec.square().sum(1, keepdim=True).sqrt()
    found.append(sqrt(3.0) * unit)
    for degree in range(2, l_max + 1):
        table = torch.from_numpy(_step(degree)).to(vec)
        found.append(torch.einsum("ijk,zi,zj->zk", table, unit, found[-1]))
    return found


@cache
def _step(degree: int) -> NDArray[np.float64]:
    """Coefficients that make harmonics of a degree of those of the degree below and a unit vector."""
    table = coupling(1, degree - 1, degree)
    pole = np.array([0.0, 1.0, 0.0])  # the y axis, along which only the middle component is not zero
    below = np.zeros(2 * degree - 1)
    below[degree - 1] = sqrt(2.0 * degree - 1)
    along = np.einsum("ijk,i,j->k", table, pole, below)[degree]
    scaled: NDArray[np.float64] = table * sqrt(2.0 * degree + 1) / along
    return scaled
