"""Another program's SOAP in a process of its own, which answers every line with the CPU seconds that one call took.

    PYTHON other_soap.py featomic|quippy STRUCTURE.extxyz cutoff n_max l_max sigma

`workflows/benchmarks/other_descriptors.py` starts it with the Python of an environment that has the program; a line is ``values``
or ``gradients``. It imports nothing of this project.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ase.io import read


def featomic(atoms: Any, cutoff: float, n_max: int, l_max: int, sigma: float) -> dict[str, Callable[[], object]]:
    """Featomic's power spectrum, with gradients in positions and strain."""
    from featomic import SoapPowerSpectrum

    logging.disable()
    calculator = SoapPowerSpectrum(
        cutoff={"radius": cutoff, "smoothing": {"type": "ShiftedCosine", "width": 0.5}},
        density={"type": "Gaussian", "width": sigma},
        basis={
            "type": "TensorProduct",
            "max_angular": l_max,
            "radial": {"type": "Gto", "max_radial": n_max - 1},
        },
    )
    return {
        "values": lambda: calculator.compute(atoms, use_native_system=True),
        "gradients": lambda: calculator.compute(atoms, gradients=["positions", "strain"], use_native_system=True),
    }


def quippy(atoms: Any, cutoff: float, n_max: int, l_max: int, sigma: float) -> dict[str, Callable[[], object]]:
    """Quippy's, with gradients in positions: one descriptor for each species of the centre."""
    from quippy.descriptors import Descriptor

    species = sorted({int(z) for z in atoms.numbers})
    others = " ".join(map(str, species))
    basis = f"cutoff={cutoff} cutoff_transition_width=0.5 n_max={n_max} l_max={l_max} atom_sigma={sigma}"
    descriptors = [
        Descriptor(f"soap {basis} n_Z=1 Z={{{z}}} n_species={len(species)} species_Z={{{others}}}") for z in species
    ]
    return {
        "values": lambda: [one.calc(atoms) for one in descriptors],
        "gradients": lambda: [one.calc(atoms, grad=True) for one in descriptors],
    }


def main() -> None:
    program, path, *basis = sys.argv[1:]
    cutoff, n_max, l_max, sigma = float(basis[0]), int(basis[1]), int(basis[2]), float(basis[3])
    atoms = read(path)
    atoms.positions = np.ascontiguousarray(atoms.positions)
    calls = {"featomic": featomic, "quippy": quippy}[program](atoms, cutoff, n_max, l_max, sigma)
    for line in sys.stdin:
        started = time.process_time()
        calls[line.strip()]()
        print(time.process_time() - started, flush=True)


if __name__ == "__main__":
    main()
