"""Uncertainties on a torch device: descriptors, distances, objective and coverage in chunks; only results come back.

The mathematics of :class:`~idealflow.core.uncertainty.UncertaintyModel` on numba, with its splines and its pairs. No array of
the size (n_atoms, n_features) exists, and no sum is left to atomic additions: the same device gives the same bits.

All of it is in double precision, whatever the descriptor's ``dtype``: whitening magnifies rounding, so that single precision
is good to 3e-4 in an uncertainty, and a million atoms count only 0.15 Tflop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from idealflow.core.coverage import COVER_RADIUS, REACH
from idealflow.core.descriptors import SOAP, PreparedFrame
from idealflow.core.descriptors.torch_neighbours import TorchGrid, TorchPairs
from idealflow.core.descriptors.torch_soap import Neighbourhood, TorchSOAP, neighbourhoods, padded
from idealflow.core.distinct import ALIKE
from idealflow.core.known import KnownEnvironments
from idealflow.core.torch_metric import TorchMetric
from idealflow.core.whitening import Whitener
from idealflow.errors import InputError

__all__ = ["TorchEngine", "torch_device"]

#: memory a chunk of centres may take, bytes: a small part of a GPU's, or about what a core's caches hold
BUDGET = {"cuda": 2 << 30, "cpu": 32 << 20}

#: batched products of CUDA count matrices in 16 bits on some GPUs
_MOST_CENTRES = 65_535

#: numbers per chunk of the matrix between points and covering centres
COVERING = 1 << 24

Float = NDArray[np.float64]
Whiteners = Sequence[Whitener | None]


def torch_device(name: str) -> torch.device:
    """The torch device of a name.

    Parameters
    ----------
    name
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``: devices that compute in double precision.

    Raises
    ------
    InputError
        If there is none: an unknown name, or CUDA where torch sees no such GPU.

    Examples
    --------
    >>> torch_device("cpu").type
    'cpu'
    """
    rule = "device must be None (numba), 'cpu', 'cuda' or 'cuda:N'"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{rule}, got {name!r}") from error
    if device.type not in BUDGET:
        raise InputError(f"{rule}, got {name!r}: it has to compute in double precision")
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise InputError(
            f"device {name!r} needs a GPU that torch can use, and it sees {torch.cuda.device_count()}; leave device out, or "
            "install torch for this machine's driver"
        )
    return device


class TorchEngine:
    """What an uncertainty model computes on a device; :class:`~idealflow.core.numba_engine.NumbaEngine` does it without torch.

    ``chosen`` are indices of atoms of the frame, (n,), each once; ``known`` is what they are compared with.

    Parameters
    ----------
    soap
        The descriptor.
    device
        Name of the device, as :func:`torch_device` takes it.

    Raises
    ------
    InputError
        If there is no such device.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from idealflow.core import SOAP
    >>> soap = SOAP(["Cu"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3)
    >>> TorchEngine(soap, "cpu").descriptors(soap.prepare(bulk("Cu", cubic=True)), np.array([0])).shape == (1, soap.n_features)
    True
    """

    def __init__(self, soap: SOAP, device: str) -> None:
        self.device = torch_device(device)
        _start_threads()
        self._n_species = len(soap.species)
        self._soap = TorchSOAP(soap, self.device)
        self._metrics: dict[int, TorchMetric] = {}
        self._n_features, self._degrees, self._n_max = soap.n_features, soap.l_max + 1, soap.n_max

    def descriptors(self, frame: PreparedFrame, chosen: NDArray[np.int64]) -> Float:
        """SOAP vectors of the chosen atoms, (n, n_features)."""
        out = np.empty((len(chosen), self._n_features))
        with torch.no_grad():
            for part, _, own, _, around in self._chunks(frame, chosen, gradient=False):
                out[part] = self._soap(around, own).cpu().numpy()
        return out

    def distances(
        self, frame: PreparedFrame, chosen: NDArray[np.int64], known: KnownEnvironments, *, raw: bool
    ) -> Float:
        """Uncertainty of the chosen atoms, (n,); per dimension unless ``raw``."""

        def distance(vectors: Tensor, whitener: Whitener, _: int) -> Tensor:
            if whitener.seen is not None:
                return self._seen_or_not(vectors, whitener.seen)
            return self._metric(whitener).squared(vectors) / (1.0 if raw else whitener.k)

        return self._mapped(frame, chosen, known.whiteners(), distance, float("inf")).cpu().numpy()

    def covered(
        self, frame: PreparedFrame, chosen: NDArray[np.int64], known: KnownEnvironments, threshold: float
    ) -> NDArray[np.bool_]:
        """Whether each of the chosen atoms is covered, (n,)."""
        coverages = list(known.coverage.values())

        def cover(vectors: Tensor, whitener: Whitener, kind: int) -> Tensor:
            if not len(coverages[kind]):
                return torch.zeros(len(vectors), dtype=torch.float64, device=self.device)
            centres, turned, sizes = (self._moved(array) for array in coverages[kind].prepare(whitener))
            limits = torch.clamp(REACH * sizes, max=COVER_RADIUS * threshold * whitener.k)
            metric, rows = self._metric(whitener), max(1, COVERING // len(centres))
            parts = []
            for some in vectors.split(rows):
                best = torch.argmin((sizes - limits)[None, :] - 2.0 * (some - metric.mean) @ turned.T, dim=1)
                parts.append(metric.squared(some, centres[best]) <= limits[best])
            return torch.cat(parts).double()

        return self._mapped(frame, chosen, known.whiteners(), cover, 0.0).cpu().numpy() > 0.0

    def value_and_gradient(
        self,
        frame: PreparedFrame,
        chosen: NDArray[np.int64],
        weights: Float,
        reference: Float | None,
        known: KnownEnvironments,
    ) -> tuple[float, Float, Float]:
        """Objective of the chosen atoms, and its gradient in positions (n_atoms, 3) and cell (3, 3), per Å.

        ``weights`` and ``reference`` are (n,), those of the chosen atoms.
        """
        whiteners = known.whiteners()
        w, ref = self._moved(weights), None if reference is None else self._moved(reference)
        in_positions, in_cell = self._zeros(len(frame), 3), self._zeros(3, 3)
        total = self._zeros()
        with torch.enable_grad():
            for part, centres, own, pairs, around in self._chunks(frame, chosen, gradient=True):
                leaves = [each.vec.requires_grad_() for each in around]
                vectors = self._soap(around, own)
                value = self._zeros()
                for _, whitener, rows in _members(own, whiteners):
                    if whitener is None:  # infinite, and no direction leads out of it
                        total += float("inf")
                        continue
                    own_ref = None if ref is None else ref[part][rows]
                    if whitener.seen is not None:  # 0 or infinite: no slope either
                        u = _excess(self._seen_or_not(vectors[rows].detach(), whitener.seen), own_ref)
                        total += (w[part][rows] * u).sum()
                        continue
                    u = self._metric(whitener).squared(vectors.index_select(0, rows)) / whitener.k
                    value = value + (w[part][rows] * _excess(u, own_ref)).sum()
                if not value.requires_grad:
                    continue
                total += value.detach()
                slopes = torch.autograd.grad(value, leaves)
                _scatter(slopes, around, pairs, centres, in_positions, in_cell)
        return float(total), in_positions.cpu().numpy(), in_cell.cpu().numpy()

    def _mapped(
        self,
        frame: PreparedFrame,
        chosen: NDArray[np.int64],
        whiteners: Whiteners,
        work: Callable[[Tensor, Whitener, int], Tensor],
        otherwise: float,
    ) -> Tensor:
        """A number for each chosen atom from its descriptor, ``otherwise`` for species never seen: (n,) on the device."""
        out = torch.full((len(chosen),), otherwise, dtype=torch.float64, device=self.device)
        with torch.no_grad():
            for part, _, own, _, around in self._chunks(frame, chosen, gradient=False):
                vectors = self._soap(around, own)
                for kind, whitener, rows in _members(own, whiteners):
                    if whitener is not None:
                        out[part][rows] = work(vectors[rows], whitener, kind)
        return out

    def _chunks(
        self, frame: PreparedFrame, chosen: NDArray[np.int64], *, gradient: bool
    ) -> Iterator[tuple[slice, Tensor, Tensor, TorchPairs, list[Neighbourhood]]]:
        """Chunks of the chosen atoms, of bounded memory: place, indices, species, pairs, and neighbours by species."""
        grid, kinds = TorchGrid(frame.grid, self.device), torch.from_numpy(frame.kinds).to(self.device)
        atoms = torch.tensor(chosen, device=self.device)
        size = self._chunk_size(frame, chosen, gradient=gradient)
        for start in range(0, len(chosen), size):
            part = slice(start, min(start + size, len(chosen)))
            centres = atoms[part]
            pairs = grid.pairs(centres)
            around = neighbourhoods(pairs, kinds[pairs.j], len(centres), self._n_species)
            yield part, centres, kinds[centres], pairs, around

    def _chunk_size(self, frame: PreparedFrame, chosen: NDArray[np.int64], *, gradient: bool) -> int:
        """How many centres fit the budget, from the most neighbours that some of them have."""
        some = chosen[:: max(1, len(chosen) // 64)]
        most = int(np.diff(frame.grid.pairs(some).offsets).max(initial=1))
        # what is alive at once: harmonics, radial functions, power spectra; autograd keeps what it will need
        harmonics, radial, spectra = (8, 16, 8) if gradient else (2, 3, 2)
        widths = harmonics * self._degrees**2 + radial * self._degrees * self._n_max
        products = self._degrees * (self._soap.n_densities * self._n_max) ** 2
        per_centre = most * (4 * 80 + 8 * widths)  # four candidates a pair
        per_centre += 8 * spectra * (products + 2 * self._n_features)
        return min(max(16, BUDGET[self.device.type] // per_centre), _MOST_CENTRES)

    def _metric(self, whitener: Whitener) -> TorchMetric:
        """The whitener on the device, where those in use stay."""
        found = self._metrics.get(id(whitener))
        if found is None or found.whitener is not whitener:
            if len(self._metrics) >= self._n_species:
                self._metrics.clear()
            found = self._metrics[id(whitener)] = TorchMetric(whitener, self.device)
        return found

    def _seen_or_not(self, vectors: Tensor, seen: Float) -> Tensor:
        """Uncertainty where too few environments are known: 0 of those, infinite of all others, (n,)."""
        apart = ((vectors[:, None, :] - self._moved(seen)[None]) ** 2).sum(dim=2)
        alike = (apart <= ALIKE**2 * (vectors**2).sum(dim=1, keepdim=True)).any(dim=1)
        return torch.where(alike, 0.0, float("inf")).double()

    def _moved(self, array: Float) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.float64, device=self.device)


def _start_threads() -> None:
    """Start numba's threads; its OpenMP layer would give torch their number too, so torch keeps its own."""
    kept = torch.get_num_threads()
    numba.get_num_threads()
    torch.set_num_threads(kept)


def _members(own: Tensor, whiteners: Whiteners) -> Iterator[tuple[int, Whitener | None, Tensor]]:
    """Species that occur, their whiteners, and which rows are of them."""
    for kind in torch.unique(own).tolist():
        yield kind, whiteners[kind], torch.nonzero(own == kind)[:, 0]


def _excess(u: Tensor, reference: Tensor | None) -> Tensor:
    """:func:`idealflow.core.objective.objective`."""
    if reference is None:
        return u
    ratio = torch.where(torch.isfinite(reference), u / reference, 1.0)
    return torch.log1p(torch.relu(ratio - 1.0))


def _scatter(
    slopes: Sequence[Tensor],
    around: Sequence[Neighbourhood],
    pairs: TorchPairs,
    centres: Tensor,
    in_positions: Tensor,
    in_cell: Tensor,
) -> None:
    """Add the slopes in the neighbours' vectors to the atoms at both ends, and S ⊗ g to the cell."""
    g = torch.empty_like(pairs.vec)
    for slope, each in zip(slopes, around, strict=True):
        g[each.members] = slope.permute(1, 2, 0)[each.filled]
    in_cell += pairs.shift.double().T @ g
    in_positions[centres] -= padded(g, pairs.centre, len(centres))[0].sum(dim=1)
    order = torch.argsort(pairs.j, stable=True)
    atoms, groups = torch.unique_consecutive(pairs.j[order], return_inverse=True)
    in_positions[atoms] += padded(g[order], groups, len(atoms))[0].sum(dim=1)
