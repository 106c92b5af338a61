"""An uncertainty of one's own: the plain distance of the descriptor from its mean."""

import numpy as np

from idealflow.core import SOAPCoverage, UncertaintyModel
from idealflow.core.objective import checked, objective


class Distance(SOAPCoverage):
    """|v − v̄|² of the SOAP vectors, over its mean in training."""

    @classmethod
    def begin(cls, first, fit):
        """From all environments of the structures that a campaign begins with."""
        vectors = np.concatenate([first.soap(atoms) for atoms in first.frames])
        apart = ((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1)
        learned = {"centre": vectors.mean(axis=0), "spread": apart.mean()}
        return cls(UncertaintyModel.begin(first, fit), parameters=learned).matched(apart / apart.mean())

    def measure(self, vectors):
        """The uncertainty of each descriptor, and its derivative."""
        apart = vectors - self.parameters["centre"]
        return (apart**2).sum(axis=1) / self.parameters["spread"], 2.0 * apart / self.parameters["spread"]

    def __call__(self, atoms, indices=None):
        """One value per atom; 1 is the mean in distribution."""
        return self.measure(self.soap(atoms, indices))[0]

    def value_and_gradient(self, atoms, weights=None, reference=None):
        """What a relaxation lowers, its gradient in positions, and in the cell at fixed Cartesian positions."""
        w, ref = checked(weights, reference, len(atoms))
        parts = np.zeros(len(atoms))

        def by_vectors(rows, vectors):  # of a block of atoms
            u, by_vector = self.measure(vectors)
            part, by_u = objective(u, None if ref is None else ref[rows])
            parts[rows] = w[rows] / w.sum() * part
            return by_vector * (w[rows] / w.sum() * by_u)[:, None]

        gradients = self.soap.pull_back(atoms, None, by_vectors)
        return float(parts.sum()), *gradients
