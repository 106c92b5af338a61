"""Another measure of novelty, with the coverage of a SOAP model beside it."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.descriptors import SOAP, PreparedFrame
from idealflow.core.uncertainty import UncertaintyModel

__all__ = ["BorrowedCoverage"]

Float = NDArray[np.float64]


class BorrowedCoverage:
    """What screening needs beside values, taken from a SOAP–Mahalanobis model.

    Subclass it to screen with a measure of your own: write ``__call__``, ``value_and_gradient``, ``save`` and ``load``
    (:class:`~idealflow.core.conformance.AtomwiseUncertainty`), and inherit which environments are alike and which are
    covered.

    Parameters
    ----------
    base
        Model of the same training environments. Its true cutoff should be at least that of the measure.
    delta_scale
        Thresholds of the measure over those of ``base``: distances δ are multiplied by it before they are compared with a
        threshold. Ratio of the two automatic thresholds, for instance.
    """

    def __init__(self, base: UncertaintyModel, delta_scale: float = 1.0) -> None:
        self.base = base
        self.delta_scale = float(delta_scale)

    @property
    def soap(self) -> SOAP:
        """Descriptor in which environments are compared."""
        return self.base.soap

    @property
    def cutoff(self) -> float:
        """How far an environment reaches, Å."""
        return self.base.cutoff

    @property
    def species(self) -> tuple[str, ...]:
        """Species that may occur."""
        return self.base.species

    @property
    def n_samples(self) -> dict[str, int]:
        """Environments in the distribution, by species (or ``pooled``)."""
        return self.base.n_samples

    @property
    def too_few(self) -> dict[str, int]:
        """Species that were seen in too few distinct environments; see :attr:`UncertaintyModel.too_few`."""
        return self.base.too_few

    @property
    def n_covered(self) -> dict[str, int]:
        """Learned centres that cover, by species."""
        return self.base.n_covered

    @property
    def n_quarantined(self) -> dict[str, int]:
        """Quarantined centres, by species."""
        return self.base.n_quarantined

    def descriptors(self, atoms: Atoms | PreparedFrame, indices: ArrayLike | None = None) -> Float:
        """SOAP vectors, (n, n_features)."""
        return self.base.descriptors(atoms, indices)

    def whitened(self, vectors: Float, kind: int) -> Float | None:
        """Descriptors (n, d) of one species in units in which squared distances compare with a threshold of this measure.

        ``kind`` is the index in ``species``; None if the species was never seen.
        """
        found = self.base.whitened(vectors, kind)
        return None if found is None else found * np.sqrt(self.delta_scale)

    def cover(self, atoms: Atoms | PreparedFrame, indices: ArrayLike, *, quarantined: bool = False) -> None:
        """Let the environments at ``indices`` cover their like; see :meth:`UncertaintyModel.cover`."""
        self.base.cover(atoms, indices, quarantined=quarantined)

    def forget_quarantined(self) -> None:
        """Quarantined environments may trigger again."""
        self.base.forget_quarantined()

    def covered(
        self, atoms: Atoms | PreparedFrame, threshold: float, indices: ArrayLike | None = None
    ) -> NDArray[np.bool_]:
        """Whether each environment is covered at this threshold of the measure, (n,)."""
        return self.base.covered(atoms, threshold / self.delta_scale, indices)
