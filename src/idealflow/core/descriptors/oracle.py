"""DScribe's SOAP with the interface of ours: the reference of tests and benchmarks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from idealflow.core.descriptors.soap import SOAP

__all__ = ["DScribeSOAP"]


class DScribeSOAP:
    """Descriptors computed by DScribe.

    Parameters
    ----------
    soap
        The SOAP whose settings to use; it must have no taper, since DScribe has none.

    Examples
    --------
    >>> from ase.build import bulk
    >>> soap, crystal = SOAP(species=["Cu"], r_cut=4.0, n_max=3, l_max=2, sigma=0.4), bulk("Cu", cubic=True)
    >>> bool(np.allclose(DScribeSOAP(soap)(crystal), soap(crystal), rtol=1e-6))
    True
    """

    def __init__(self, soap: SOAP) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # compiling its docstrings warns of invalid escapes
            import dscribe.descriptors
        settings: dict[str, Any] = {
            "species": list(soap.species), "r_cut": soap.r_cut, "n_max": soap.n_max, "l_max": soap.l_max,
            "sigma": soap.sigma, "rbf": "gto", "compression": soap.compression or {"mode": "off"},
        }  # fmt: skip
        self._make = {periodic: dscribe.descriptors.SOAP(periodic=periodic, **settings) for periodic in (False, True)}

    def __call__(self, atoms: Atoms, indices: ArrayLike | None = None) -> NDArray[np.float64]:
        """Descriptors of all atoms, or of those at ``indices``: (n, n_features)."""
        frame = atoms.copy()
        frame.wrap(eps=0.0)  # DScribe's values are silently wrong for atoms two cells outside the box
        centres = frame.positions if indices is None else frame.positions[np.asarray(indices, dtype=np.int64)]
        out: NDArray[np.float64] = self._make[bool(atoms.pbc.any())].create(frame, centers=centres)
        return out

    def derivatives(self, atoms: Atoms) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Derivatives of all descriptors, (n, n_atoms, 3, n_features), by DScribe's finite differences, and the descriptors."""
        frame = atoms.copy()
        frame.wrap(eps=0.0)
        out: tuple[NDArray[np.float64], NDArray[np.float64]] = self._make[bool(atoms.pbc.any())].derivatives(
            frame, method="numerical", attach=True, return_descriptor=True
        )
        return out
