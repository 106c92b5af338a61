"""An uncertainty of one's own, the plain distance from the mean descriptor, proven and put to work."""

import numpy as np
from ase.build import bulk

from idealflow.core import SOAP, BorrowedCoverage, UncertaintyModel, crop_search, relax_shell, screen
from idealflow.core.archive import packed, read_archive, unpacked, write_archive
from idealflow.core.objective import checked, objective
from idealflow.testing import check_uncertainty


class Distance(BorrowedCoverage):
    """|v − v̄|² of the SOAP vectors of one species, over its mean in training."""

    def __init__(self, base, centre, spread):
        super().__init__(base)
        self.centre, self.spread = centre, spread

    @classmethod
    def fit(cls, frames, soap):
        """From the environments of all atoms."""
        vectors = np.concatenate([soap(atoms) for atoms in frames])
        centre = vectors.mean(axis=0)
        return cls(UncertaintyModel.fit(frames, soap), centre, ((vectors - centre) ** 2).sum(axis=1).mean())

    def __call__(self, atoms, indices=None):
        """One value per atom; 1 is the mean in distribution."""
        return ((self.soap(atoms, indices) - self.centre) ** 2).sum(axis=1) / self.spread

    def value_and_gradient(self, atoms, weights=None, reference=None):
        """Objective, its gradient in positions, and in the cell at fixed Cartesian positions."""
        w, ref = checked(weights, reference, len(atoms))
        w = w / w.sum()
        parts = np.zeros(len(atoms))

        def adjoint(rows, vectors):  # a block of atoms: dU/d(descriptors)
            apart = vectors - self.centre
            u = (apart**2).sum(axis=1) / self.spread
            value, slope = objective(u, None if ref is None else ref[rows])
            parts[rows] = w[rows] * value
            return apart * (w[rows] * slope * 2.0 / self.spread)[:, None]

        gradients = self.soap.pull_back(atoms, None, adjoint)
        return float(parts.sum()), *gradients

    def save(self, path):
        """One file, base included."""
        arrays = {"base": packed(self.base.save), "centre": self.centre}
        return write_archive(path, "distance", 1, arrays, {"spread": float(self.spread)})

    @classmethod
    def load(cls, path):
        """Refuses damaged and foreign files by name."""
        arrays, meta = read_archive(path, "distance", 1)
        return cls(unpacked(arrays["base"], UncertaintyModel.load), arrays["centre"], meta["spread"])


def copper(repeat, seed):
    """A warm crystal."""
    atoms = bulk("Cu", cubic=True) * repeat
    atoms.rattle(0.06, seed=seed)
    return atoms


u = Distance.fit([copper(2, seed) for seed in range(6)], SOAP(["Cu"], r_cut=3.5, n_max=4, l_max=4, sigma=0.3))
print(check_uncertainty(u, [copper(2, 10)]))

frame = copper(5, 11)
del frame[250]  # a vacancy
(centre,) = screen(u, frame, threshold=3.0, max_centres=1)
crops = crop_search(u, frame, centre, n_candidates=10, max_atoms=200)
ides = relax_shell(u, crops[0], max_steps=30)
print(f"shell of {len(ides.atoms)} atoms: {ides.uncertainty_before:.2f} -> {ides.uncertainty_after:.2f}")
