"""Functions of distance and angle in M3GNet, in closed form.

Radial functions either are smooth, with first and second derivatives that vanish at the cutoff (Kocer, Mason, Erturk, J. Chem.
Phys. 150, 154102 (2019)), or are spherical Bessel functions j_l(z_ln r / r_c), normalised, which vanish there. All are computed
in double precision, because spherical Bessel functions of short distances are small differences of large numbers.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import spherical_jn
from torch import Tensor

from idealflow.errors import InputError

__all__ = ["MOST_DEGREES", "BesselFunctions", "SmoothFunctions", "envelope", "harmonics"]

#: degrees of spherical harmonics there are formulas for, 0 to 3
MOST_DEGREES = 4


class SmoothFunctions:
    """Orthonormal radial functions on [0, cutoff] that end smoothly.

    Parameters
    ----------
    number
        How many.
    cutoff
        Å.

    Examples
    --------
    They vanish at the cutoff:

    >>> functions = SmoothFunctions(3, cutoff=5.0)
    >>> functions(torch.tensor([2.5, 5.0], dtype=torch.float64)).abs().round(decimals=6)[1].tolist()
    [0.0, 0.0, 0.0]
    """

    def __init__(self, number: int, cutoff: float) -> None:
        self.number = number
        self._step = math.pi / cutoff
        n = np.arange(number)
        front = (-1.0) ** n * math.sqrt(2.0) * math.pi / cutoff**1.5 * (n + 1) * (n + 2)
        front = front / np.sqrt((n + 1.0) ** 2 + (n + 2.0) ** 2)
        e = n**2 * (n + 2.0) ** 2 / (4.0 * (n + 1.0) ** 4 + 1.0)
        d = np.ones(number)
        # sinc of k = 1, 2, ... → functions: each is a pair of neighbouring sincs, made orthogonal to the one before
        mixing = np.zeros((number + 1, number))
        for i in range(number):
            mixing[i : i + 2, i] = front[i]
            if i:
                d[i] = 1.0 - e[i] / d[i - 1]
                mixing[:, i] = (mixing[:, i] + math.sqrt(e[i] / d[i - 1]) * mixing[:, i - 1]) / math.sqrt(d[i])
        self._mixing = torch.from_numpy(mixing / np.arange(1, number + 2)[:, None] / self._step)
        self._waves = torch.arange(1, number + 2, dtype=torch.float64) * self._step

    def __call__(self, r: Tensor) -> Tensor:
        """Values at distances r (n,) in double precision, (n, number)."""
        sincs = torch.sin(r[:, None] * self._waves.to(r.device)) / r[:, None]
        return sincs @ self._mixing.to(r.device)


class BesselFunctions:
    """Normalised spherical Bessel functions √(2/r_c³) j_l(z_ln r/r_c) / |j_{l+1}(z_ln)| of degrees l = 0, 1, ...

    Parameters
    ----------
    degrees
        Number of degrees, at most 4.
    number
        Number of roots z_ln of each degree.
    cutoff
        r_c, Å.

    Examples
    --------
    >>> functions = BesselFunctions(degrees=2, number=3, cutoff=5.0)
    >>> functions(torch.tensor([2.5], dtype=torch.float64)).shape  # those of degree 0 first
    torch.Size([1, 6])
    """

    def __init__(self, degrees: int, number: int, cutoff: float) -> None:
        self.number = degrees * number
        self._degrees = degrees
        roots = _roots(degrees, number)
        slopes = np.array([spherical_jn(l + 1, roots[l]) for l in range(degrees)])
        self._waves = torch.from_numpy(roots / cutoff)
        self._norms = torch.from_numpy(math.sqrt(2.0 / cutoff**3) / np.abs(slopes))

    def __call__(self, r: Tensor) -> Tensor:
        """Values at distances r (n,) in double precision, (n, degrees * number)."""
        waves, norms = self._waves.to(r.device), self._norms.to(r.device)
        found = [_bessel(l, r[:, None] * waves[l]) * norms[l] for l in range(self._degrees)]
        return torch.cat(found, dim=1)


def _roots(degrees: int, number: int) -> np.ndarray:
    """Roots z_ln, (degrees, number): those of each degree lie between those of the one below."""
    found = [np.arange(1, number + degrees + 1) * math.pi]
    for l in range(1, degrees):
        below = found[-1]
        found.append(np.array([brentq(lambda z, l=l: spherical_jn(l, z), a, b) for a, b in pairwise(below)]))
    return np.array([each[:number] for each in found])


def _bessel(l: int, z: Tensor) -> Tensor:
    """j_l(z) for z > 0; from sines and cosines, and by its power series where these would cancel."""
    small = z < 0.7
    x = torch.where(small, 1.0, z)
    sine, cosine = torch.sin(x), torch.cos(x)
    if l == 0:
        far = sine / x
    elif l == 1:
        far = (sine / x - cosine) / x
    elif l == 2:
        far = ((3.0 / x**2 - 1.0) * sine - 3.0 / x * cosine) / x
    else:
        far = ((15.0 / x**3 - 6.0 / x) * sine - (15.0 / x**2 - 1.0) * cosine) / x
    y = torch.where(small, z, 0.0)
    term, near = y**l / math.prod(range(1, 2 * l + 2, 2)), torch.zeros_like(y)
    for k in range(8):
        near = near + term
        term = term * (-0.5 * y * y / ((k + 1) * (2 * l + 2 * k + 3)))
    return torch.where(small, near, far)


def envelope(r: Tensor, cutoff: float) -> Tensor:
    """Polynomial that falls from 1 at r = 0 to 0 at the cutoff, where its first and second derivatives vanish.

    Examples
    --------
    >>> envelope(torch.tensor([0.0, 2.0, 4.0, 4.5]), cutoff=4.0).tolist()
    [1.0, 0.5, 0.0, 0.0]
    """
    x = torch.clamp(r / cutoff, max=1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x * x)


def harmonics(unit: Tensor, degrees: int) -> Tensor:
    """Real harmonics of unit vectors (n, 3), scaled so that products of degree l add up to √((2l+1)/4π) P_l(cos θ).

    Returns
    -------
    Tensor
        (n, degrees²), degree after degree.

    Examples
    --------
    Of two vectors at a right angle, P_2(0) = −1/2:

    >>> made = harmonics(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), degrees=3)
    >>> round(float((made[0, 4:] * made[1, 4:]).sum() / math.sqrt(5.0 / (4.0 * math.pi))), 6)
    -0.5
    """
    if degrees > MOST_DEGREES:
        raise InputError(f"there are harmonics of at most {MOST_DEGREES} degrees, got {degrees}; lower max_l")
    x, y, z = unit.unbind(1)
    parts = [torch.ones_like(x)]
    if degrees > 1:
        parts += [y, z, x]
    if degrees > 2:
        a = math.sqrt(3.0)
        parts += [a * x * y, a * y * z, 1.5 * z * z - 0.5, a * x * z, 0.5 * a * (x * x - y * y)]
    if degrees > 3:
        a, b, c = math.sqrt(5.0 / 8.0), math.sqrt(15.0), math.sqrt(3.0 / 8.0)
        parts += [
            a * y * (3.0 * x * x - y * y),
            b * x * y * z,
            c * y * (5.0 * z * z - 1.0),
            0.5 * z * (5.0 * z * z - 3.0),
            c * x * (5.0 * z * z - 1.0),
            0.5 * b * z * (x * x - y * y),
            a * x * (x * x - 3.0 * y * y),
        ]
    scales = [((2 * l + 1) / (4.0 * math.pi)) ** 0.25 for l in range(degrees) for _ in range(2 * l + 1)]
    return torch.stack(parts, dim=1) * torch.tensor(scales, dtype=unit.dtype, device=unit.device)
