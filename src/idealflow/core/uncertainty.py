"""Atom-wise uncertainty: the Mahalanobis distance of an environment's SOAP vector from the training distribution."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.archive import read_archive, write_archive
from idealflow.core.descriptors import SOAP, PreparedFrame, chosen_atoms
from idealflow.core.known import KnownEnvironments
from idealflow.core.objective import checked
from idealflow.errors import InputError

if TYPE_CHECKING:
    from idealflow.core.torch_engine import TorchEngine

__all__ = ["UncertaintyModel"]

_KIND, _VERSION = "idealflow uncertainty model", 2

Float = NDArray[np.float64]


class UncertaintyModel:
    """Distribution of the training environments per species, and the distance of others from it.

    ``Unc(ρ_i) = (v_i − x̄)ᵀ Σ⁻¹ (v_i − x̄) / k`` with v the SOAP vector and Σ⁻¹ taken in the k eigenvectors that carry the
    training set's variance: 1 is the mean in distribution, in any system. What of v lies outside these eigenvectors is
    measured by the variance that left-out distinct environments show there (:mod:`idealflow.core.left_out`). Make one with
    :meth:`fit` or :meth:`load`.

    Parameters
    ----------
    soap
        The descriptor.
    pooled
        One distribution for all species (the paper's form) instead of one for each.
    eigen_cut
        Eigenvalues of the covariance below this fraction of the largest are never believed.
    seed
        Of the sample of distinct training environments.
    device
        Where uncertainties, gradients and coverage are computed: None is numba on this machine's cores; ``"cuda"``, ``"cuda:1"``
        or ``"cpu"`` is torch on that device, always in double precision. The distribution itself is always taken on the CPU, and
        files say nothing of the device.

    Raises
    ------
    InputError
        For an ``eigen_cut`` outside 0 to 1, or a device that is not there.
    """

    def __init__(
        self, soap: SOAP, *, pooled: bool = False, eigen_cut: float = 1e-7, seed: int = 0, device: str | None = None
    ) -> None:
        if not 0.0 < eigen_cut < 1.0:
            raise InputError(f"eigen_cut must lie between 0 and 1 (useful: 1e-6 to 1e-8), got {eigen_cut}")
        self.soap = soap
        self._known = KnownEnvironments(soap.species, soap.n_features, bool(pooled), float(eigen_cut), seed)
        self._engine = None if device is None else _engine(soap, device)

    @classmethod
    def fit(
        cls,
        frames: Sequence[Atoms],
        soap: SOAP,
        *,
        pooled: bool = False,
        eigen_cut: float = 1e-7,
        seed: int = 0,
        masks: Sequence[ArrayLike] | None = None,
        device: str | None = None,
    ) -> UncertaintyModel:
        """Distribution of all environments in ``frames``; arguments as the class's and :meth:`update`'s."""
        model = cls(soap, pooled=pooled, eigen_cut=eigen_cut, seed=seed, device=device)
        model.update(frames, masks=masks)
        return model

    @property
    def device(self) -> str | None:
        """Torch device that computes; None: numba."""
        return None if self._engine is None else str(self._engine.device)

    @property
    def cutoff(self) -> float:
        """How far an environment reaches, Å."""
        return self.soap.cutoff

    @property
    def species(self) -> tuple[str, ...]:
        """Species the descriptor knows."""
        return self.soap.species

    @property
    def pooled(self) -> bool:
        """Whether all species share one distribution."""
        return self._known.pooled

    @property
    def eigen_cut(self) -> float:
        """Eigenvalues below this fraction of the largest are dropped."""
        return self._known.eigen_cut

    @property
    def n_samples(self) -> dict[str, int]:
        """Environments in the distribution, by species (or ``pooled``)."""
        return {group: moments.n for group, moments in self._known.moments.items()}

    @property
    def n_distinct(self) -> dict[str, int]:
        """Distinct environments among them, by species (or ``pooled``); beyond 512 an estimate, good to 4 %."""
        return {group: sample.count for group, sample in self._known.samples.items()}

    @property
    def too_few(self) -> dict[str, int]:
        """Species (or ``pooled``) that were seen in so few distinct environments, the number, that nothing can be said of others.

        Everything but those is infinitely uncertain there.
        """
        return self._known.too_few

    @property
    def n_dimensions(self) -> dict[str, float]:
        """Dimensions k by which uncertainties are divided, by species (or ``pooled``); 0 where nothing was seen."""
        whiteners = {group: self._known.whitener(group) for group in self._known.moments}
        return {group: 0.0 if whitener is None else whitener.k for group, whitener in whiteners.items()}

    @property
    def n_covered(self) -> dict[str, int]:
        """Learned centres that cover, by species."""
        return {species: len(coverage.learned) for species, coverage in self._known.coverage.items()}

    @property
    def n_quarantined(self) -> dict[str, int]:
        """Quarantined centres, by species."""
        return {species: len(coverage.quarantined) for species, coverage in self._known.coverage.items()}

    def update(self, frames: Sequence[Atoms], masks: Sequence[ArrayLike] | None = None) -> None:
        """Let environments join the distribution.

        Parameters
        ----------
        frames
            Structures; every atom's environment joins.
        masks
            For each structure (n_atoms,) bool: which atoms join; None: all.

        Raises
        ------
        InputError
            For no frames, unknown species, or positions that are not finite; nothing is changed then.
        """
        if len(frames) == 0:
            raise InputError("a distribution needs at least one structure, got none; give labelled structures")
        if masks is not None and len(masks) != len(frames):
            raise InputError(f"masks must be one per structure, got {len(masks)} for {len(frames)}")
        prepared = [self.soap.prepare(atoms) for atoms in frames]
        for number, frame in enumerate(prepared):
            chosen = np.arange(len(frame)) if masks is None else np.flatnonzero(np.asarray(masks[number], dtype=bool))
            kinds = frame.kinds[chosen]
            for part, vectors in self.soap.map_blocks(frame, chosen, lambda part, vectors: (part, vectors)):
                self._known.join(vectors, kinds[part])

    def __call__(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None, *, raw: bool = False) -> Float:
        """Uncertainty of all atoms or of those at ``indices``, (n,).

        Parameters
        ----------
        raw
            The paper's form, not divided by the number of dimensions.

        Returns
        -------
        (n,)
            Infinite for a species never seen in training; and for one with :attr:`too_few` distinct environments, but for those.

        Raises
        ------
        InputError
            For a species outside the descriptor's, or positions that are not finite.
        """
        frame = self.soap.prepare(atoms)
        chosen = chosen_atoms(frame, indices)
        if self._engine is not None:
            return self._engine.distances(frame, chosen, self._known.whiteners(), raw=raw)
        kinds, values = frame.kinds[chosen], np.empty(len(chosen))
        self._known.prepare()

        def distances(part: slice, vectors: Float) -> None:
            values[part] = self._known.distances(vectors, kinds[part], raw=raw)

        for _ in self.soap.map_blocks(frame, chosen, distances):
            pass
        return values

    def value_and_gradient(
        self, atoms: Atoms | PreparedFrame, weights: ArrayLike | None = None, reference: ArrayLike | None = None
    ) -> tuple[float, Float, Float]:
        """Objective of the uncertainties, and its exact gradient.

        Parameters
        ----------
        weights : (n_atoms,), optional
            Weight of each atom in the mean; default 1. Atoms of weight 0 cost nothing.
        reference : (n_atoms,), optional
            None: the objective is the weighted mean of u. Given: the weighted mean of log(1 + max(0, u / reference − 1)).

        Returns
        -------
        value : float
        positions_gradient : (n_atoms, 3), per Å
        cell_gradient : (3, 3), per Å, at fixed Cartesian positions

        Raises
        ------
        InputError
            For negative weights, weights that sum to zero, references that are not positive, or bad atoms.
        """
        frame = self.soap.prepare(atoms)
        w, ref = checked(weights, reference, len(frame))
        chosen = np.flatnonzero(w > 0.0)
        kinds = frame.kinds[chosen]
        w = w[chosen] / w.sum()
        ref = None if ref is None else ref[chosen]
        if self._engine is not None:
            return self._engine.value_and_gradient(frame, chosen, w, ref, self._known.whiteners())
        parts = np.full(len(chosen), np.inf)
        self._known.prepare()

        def adjoint(part: slice, vectors: Float) -> Float:
            reference = None if ref is None else ref[part]
            parts[part], slopes = self._known.objective(vectors, kinds[part], w[part], reference)
            return slopes

        positions_gradient, cell_gradient = self.soap.pull_back(frame, chosen, adjoint)
        return float(parts.sum()), positions_gradient, cell_gradient

    def descriptors(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None) -> Float:
        """SOAP vectors, (n, n_features)."""
        if self._engine is not None:
            frame = self.soap.prepare(atoms)
            return self._engine.descriptors(frame, chosen_atoms(frame, indices))
        return self.soap(atoms, indices)

    def cover(self, atoms: Atoms | PreparedFrame, indices: ArrayLike, *, quarantined: bool = False) -> None:
        """Let the environments at ``indices`` cover their like (:mod:`idealflow.core.coverage`).

        Parameters
        ----------
        quarantined
            Their labels failed for good: they cover until :meth:`forget_quarantined`.
        """
        frame = self.soap.prepare(atoms)
        chosen = chosen_atoms(frame, indices)
        for vector, kind in zip(self.soap(frame, chosen), frame.kinds[chosen], strict=True):
            coverage = self._known.coverage[self.species[kind]]
            (coverage.quarantined if quarantined else coverage.learned).append(vector)

    def forget_quarantined(self) -> None:
        """Quarantined environments may trigger again."""
        for coverage in self._known.coverage.values():
            coverage.forget_quarantined()

    def covered(
        self, atoms: Atoms | PreparedFrame, threshold: float, indices: ArrayLike | None = None
    ) -> NDArray[np.bool_]:
        """Whether each environment (of all atoms, or those at ``indices``) is covered at this threshold, (n,)."""
        frame = self.soap.prepare(atoms)
        chosen = chosen_atoms(frame, indices)
        kinds = frame.kinds[chosen]
        out = np.zeros(len(chosen), dtype=bool)
        candidates = np.flatnonzero(
            np.isin(kinds, [kind for kind, species in enumerate(self.species) if len(self._known.coverage[species])])
        )
        if self._engine is not None:
            coverages = list(self._known.coverage.values())
            whiteners = self._known.whiteners()
            out[candidates] = self._engine.covered(frame, chosen[candidates], whiteners, coverages, threshold)
            return out
        self._known.prepare()

        def cover(part: slice, vectors: Float) -> None:
            rows = candidates[part]
            out[rows] = self.covered_vectors(vectors, kinds[rows], threshold)

        for _ in self.soap.map_blocks(frame, chosen[candidates], cover):
            pass
        return out

    def covered_vectors(self, vectors: Float, kinds: NDArray[np.int64], threshold: float) -> NDArray[np.bool_]:
        """Same for descriptors already at hand; ``kinds`` are indices in ``species``."""
        return self._known.covered(vectors, kinds, threshold)

    def whitened(self, vectors: Float, kind: int) -> Float | None:
        """Descriptors (n, d) of one species in units in which squared distances are the normalised δ, (n, m).

        ``kind`` is the index in ``species``; None if the species was never seen.
        """
        return self._known.whitened(vectors, kind)

    def auto_threshold(self) -> float:
        """Threshold τ from the training distribution's own tail.

        The 99th percentile of the uncertainties that distinct training environments have where they are left out, and a margin as
        large as that percentile is of the same environments where they are known (of fewer than 40: as large as itself); of the
        species where it is highest, and at least 2. A uniform sample of at most 512 distinct environments per species stands
        for all. Species with too few of them (:attr:`too_few`) have no say.

        Raises
        ------
        InputError
            If nothing was seen yet.
        """
        return self._known.auto_threshold()

    def copy(self) -> UncertaintyModel:
        """An independent copy."""
        return copy.deepcopy(self)

    def save(self, path: str | Path) -> Path:
        """Write to one file, atomically and exactly."""
        arrays, plain = self._known.to_arrays()
        return write_archive(path, _KIND, _VERSION, arrays, {"soap": self.soap.to_dict(), **plain})

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> UncertaintyModel:
        """Read what :meth:`save` wrote; ``device`` as the class's.

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged, foreign, or of a newer version. Version 1 held a uniform sample of all
            environments in place of the distinct ones: it says how many were distinct.
        InputError
            For a device that is not there.
        """
        arrays, meta = read_archive(path, _KIND, _VERSION)
        soap = SOAP.from_dict(meta["soap"])
        model = cls(soap, pooled=meta["pooled"], eigen_cut=meta["eigen_cut"], device=device)
        model._known = KnownEnvironments.from_arrays(soap.species, soap.n_features, arrays, meta)
        return model


def _engine(soap: SOAP, device: str) -> TorchEngine:
    from idealflow.core.torch_engine import TorchEngine  # torch takes a second to import

    return TorchEngine(soap, device)
