"""SOAP on a torch device: the splines, harmonics and sums of the compiled kernel, on whole tensors, in double precision.

Sums over neighbours are products of blocks that are padded to the largest number of neighbours. Atomic additions are avoided:
their order, and with it the last bit, would change from run to run on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from idealflow.core.descriptors.harmonics import harmonic_constants
from idealflow.core.descriptors.soap import SOAP
from idealflow.core.descriptors.torch_neighbours import TorchPairs
from idealflow.core.descriptors.vectors import SPLINE_DEGREE

__all__ = ["Neighbourhood", "TorchSOAP", "neighbourhoods", "padded"]


class Neighbourhood(NamedTuple):
    """Neighbours of one species around each centre, padded to the largest number of them.

    Attributes
    ----------
    vec : (3, n_centres, most), Å
        From the centre to each neighbour; padding is (1, 0, 0).
    filled : (n_centres, most) bool
        Which places are no padding.
    members : (n_members,)
        Index of the pair in each filled place.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.descriptors.torch_neighbours import TorchGrid
    >>> soap, crystal = SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3), bulk("Cu", cubic=True)
    >>> pairs = TorchGrid(soap.prepare(crystal).grid, torch.device("cpu")).pairs(torch.arange(4))
    >>> (one,) = neighbourhoods(pairs, torch.zeros(len(pairs.j), dtype=int), n_centres=4, n_species=1)
    >>> one.vec.shape, bool(one.filled.all())
    (torch.Size([3, 4, 18]), True)
    """

    vec: Tensor
    filled: Tensor
    members: Tensor


def padded(values: Tensor, groups: Tensor, n_groups: int) -> tuple[Tensor, Tensor]:
    """Put the rows of each group side by side.

    Parameters
    ----------
    values : (n, d)
        The rows.
    groups : (n,)
        Group of each row, ascending.
    n_groups
        Number of groups.

    Returns
    -------
    tuple
        (n_groups, most, d), with zeros behind the rows of smaller groups; and (n_groups, most) bool, which places are filled.

    Examples
    --------
    >>> rows, filled = padded(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 1, 1]), n_groups=2)
    >>> rows[..., 0].tolist(), filled.tolist()
    ([[1.0, 0.0], [2.0, 3.0]], [[True, False], [True, True]])
    """
    counts = torch.bincount(groups, minlength=n_groups)
    most = int(counts.max()) if n_groups else 0
    filled = torch.arange(most, device=values.device) < counts[:, None]
    out = values.new_zeros((n_groups, most, values.shape[1]))
    out[filled] = values
    return out, filled


def neighbourhoods(pairs: TorchPairs, kinds: Tensor, n_centres: int, n_species: int) -> list[Neighbourhood]:
    """Sort neighbours by species.

    Parameters
    ----------
    pairs
        Neighbours of some centres.
    kinds : (n_pairs,)
        Index of each neighbour's species in ``SOAP.species``.
    n_centres, n_species
        Numbers of centres and species.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.descriptors.torch_neighbours import TorchGrid
    >>> soap, crystal = SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3), bulk("Cu", cubic=True)
    >>> pairs = TorchGrid(soap.prepare(crystal).grid, torch.device("cpu")).pairs(torch.arange(4))
    >>> len(neighbourhoods(pairs, torch.zeros(len(pairs.j), dtype=int), n_centres=4, n_species=2))
    2
    """
    out = []
    for kind in range(n_species):
        members = torch.nonzero(kinds == kind)[:, 0]
        vec, filled = padded(pairs.vec[members], pairs.centre[members], n_centres)
        vec[..., 0].masked_fill_(~filled, 1.0)  # the square root has no derivative at zero
        out.append(Neighbourhood(vec.permute(2, 0, 1).contiguous(), filled, members))
    return out


class TorchSOAP:
    """Descriptors of :class:`SOAP` on a device, differentiable by autograd in the neighbours' vectors.

    Parameters
    ----------
    soap
        The settings.
    device
        Where to compute.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.core.descriptors.torch_neighbours import TorchGrid
    >>> soap, crystal = SOAP(species=["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3), bulk("Cu", cubic=True)
    >>> pairs = TorchGrid(soap.prepare(crystal).grid, torch.device("cpu")).pairs(torch.arange(4))
    >>> around = neighbourhoods(pairs, torch.zeros(len(pairs.j), dtype=int), n_centres=4, n_species=1)
    >>> found = TorchSOAP(soap, torch.device("cpu"))(around, own=torch.zeros(4, dtype=int))
    >>> bool(np.allclose(found.numpy(), soap(crystal)))
    True
    """

    def __init__(self, soap: SOAP, device: torch.device) -> None:
        n, n_species, degrees = soap.n_max, len(soap.species), soap.l_max + 1
        self._n_max, self._l_max = n, soap.l_max
        table, orders = soap.tables["float64"], SPLINE_DEGREE["float64"] + 1
        rows = table.coefficients.reshape(-1, orders, table.width)[..., : degrees * n]
        by_order = np.ascontiguousarray(rows.swapaxes(0, 1))
        self._table, self._origin, self._inverse_step = (
            torch.from_numpy(by_order).to(device),
            table.origin,
            table.inverse_step,
        )
        self._constants = harmonic_constants(soap.l_max).tolist()
        at_centre = np.zeros((n_species, 1, n_species * n))
        for kind in range(n_species):
            at_centre[kind, 0, kind * n : (kind + 1) * n] = soap.at_centre[:n]
        self._at_centre = torch.from_numpy(at_centre).to(device)
        self._mode = None if soap.compression is None else soap.compression["mode"]
        #: densities that are multiplied: those of the species, their sum, or both
        self.n_densities = {"mu1nu1": n_species + 1, "mu2": 1}.get(self._mode or "", n_species)
        width = self.n_densities * n
        places, scales = [], []
        for z, w in soap.pairs.tolist():
            for l in range(degrees):
                a, b = np.triu_indices(n) if z == w else np.indices((n, n)).reshape(2, -1)
                places.append((l * width + z * n + a) * width + w * n + b)
                scales.append(np.full(len(a), np.pi * np.sqrt(8.0 / (2 * l + 1))))
        self._places = torch.from_numpy(np.concatenate(places)).to(device)
        self._scales = torch.from_numpy(np.concatenate(scales)).to(device)

    def __call__(self, around: Sequence[Neighbourhood], own: Tensor) -> Tensor:
        """Descriptors (n_centres, n_features); ``own`` (n_centres,) is the index of each centre's species."""
        by_species = [self._density(each) for each in around]
        blocks = []
        for l in range(self._l_max + 1):
            c = torch.cat([densities[l] for densities in by_species], dim=2)
            if l == 0:
                c = c + self._at_centre[own]
            if self._mode in ("mu1nu1", "mu2"):
                total = c.unflatten(2, (-1, self._n_max)).sum(dim=2)
                c = total if self._mode == "mu2" else torch.cat([c, total], dim=2)
            blocks.append((c.transpose(1, 2) @ c).flatten(1))
        return torch.cat(blocks, dim=1).index_select(1, self._places) * self._scales

    def _density(self, around: Neighbourhood) -> list[Tensor]:
        """Σ_j G_nl(r_j) S_lm(r_j) for every l: (n_centres, 2l + 1, n_max)."""
        table = self._table
        x, y, z = around.vec.unbind(0)
        r2 = x * x + y * y + z * z
        u = (r2.clamp(min=1e-300).sqrt() - self._origin) * self._inverse_step
        interval = u.detach().long().clamp(max=table.shape[1] - 1)
        t = (u - interval)[..., None]
        rows = interval.flatten()

        def order(d: int) -> Tensor:
            return table[d].index_select(0, rows).view(*interval.shape, table.shape[2])

        g = order(len(table) - 1)
        for d in range(len(table) - 2, -1, -1):
            g = torch.addcmul(order(d), g, t)
        g = g * around.filled[..., None]
        s = self._harmonics(x, y, z, r2)
        n = self._n_max
        return [s[:, l * l : (l + 1) ** 2] @ g[:, :, l * n : (l + 1) * n] for l in range(self._l_max + 1)]

    def _harmonics(self, x: Tensor, y: Tensor, z: Tensor, r2: Tensor) -> Tensor:
        """Real solid harmonics of vectors (n_centres, most): (n_centres, (l_max + 1)², most)."""
        start, by_z, by_r2 = self._constants[:3]
        degrees = self._l_max + 1
        cosine, sine = [torch.ones_like(x)], [torch.zeros_like(x)]
        for _ in range(1, degrees):
            c, s = cosine[-1], sine[-1]
            cosine.append(x * c - y * s)
            sine.append(x * s + y * c)
        out = [x] * degrees**2
        for m in range(degrees):
            q = [torch.full_like(x, start[m][m])]
            for l in range(m + 1, degrees):
                new = by_z[l][m] * z * q[-1]
                q.append(new if l == m + 1 else torch.addcmul(new, r2, q[-2], value=by_r2[l][m]))
            for l in range(m, degrees):
                middle = l * l + l
                out[middle + m] = q[l - m] * cosine[m] if m else q[l - m]
                if m:
                    out[middle - m] = q[l - m] * sine[m]
        return torch.stack(out, dim=1)
