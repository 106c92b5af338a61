"""What matgl 4.1.2 says of two small M3GNets in double precision, stored for the tests that run without it.

PYTHONPATH=tests .venv-matgl/bin/python tests/matgl/store_reference.py tests/fixtures/m3gnet
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from models import ELEMENTS, calculator_of, potential_of

from support.sheared_alloy import alloy


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for variant in ("matgl-smooth", "matgl"):
        potential = potential_of(variant, n_blocks=2, units=4, max_n=2, max_l=2)
        atoms = alloy()
        atoms.calc = calculator_of(potential)
        stored = {
            "elements": ELEMENTS,
            "variant": variant,
            "max_n": 2,
            "state": {name: value.double().tolist() for name, value in potential.state_dict().items()},
            "energy": float(atoms.get_potential_energy()),
            "forces": np.asarray(atoms.get_forces()).tolist(),
            "stress": np.asarray(atoms.get_stress()).tolist(),
            "symbols": atoms.get_chemical_symbols(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
        }
        (folder / f"{variant}.json").write_text(json.dumps(stored))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
