"""A small random SevenNet of sevenn 0.13.0 and what that package says of an alloy, stored for the tests that run without it.

.venv-sevennet/bin/python tests/with_sevennet/store_reference.py tests/fixtures/sevennet
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import sevenn
import torch
from ase.build import bulk
from sevenn import _keys as keys
from sevenn.calculator import SevenNetCalculator
from sevenn.model_build import build_E3_equivariant_model

from idealflow.forcefields.sevennet import shipped_file


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = torch.load(shipped_file("7net-0"), map_location="cpu", weights_only=False)["config"]
    plain = {name: value for name, value in config.items() if isinstance(value, bool | int | float | str)}
    kept = ("act_gate", "act_scalar", "radial_basis", "cutoff_function", "weight_nn_hidden_neurons")
    config = (
        plain
        | {name: config[name] for name in kept}
        | {
            "version": sevenn.__version__,
            "irreps_manual": ["4x0e", "4x0e+3x1e+2x2e", "4x0e+3x1e+2x2e", "4x0e"],
            "num_convolution_layer": 3,
            "weight_nn_hidden_neurons": [6],
            "conv_denominator": [12.0] * 3,
            "train_denominator": False,
            "_number_of_species": 2,
            "_type_map": {29: 0, 13: 1},
            "_chemical_species_by_atomic_number": [29, 13],
            "chemical_species": ["Cu", "Al"],
            "shift": [-3.5, -3.2],
            "scale": [2.0, 1.5],
        }
    )
    config["cutoff_function"].pop("poly_cut_p_value", None)
    config[keys.CUTOFF] = 4.0
    config["cutoff_function"]["cutoff_on"] = 3.5
    torch.manual_seed(1)
    model = build_E3_equivariant_model(config)
    path = folder / "small.pth"
    torch.save({"config": config, "model_state_dict": model.state_dict()}, path)
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.symbols[::3] = "Al"
    atoms.rattle(0.1, seed=3)
    atoms.calc = SevenNetCalculator(str(path), device="cpu")
    stored = {
        "energy": float(atoms.get_potential_energy()),
        "forces": np.asarray(atoms.get_forces(), dtype=float).tolist(),
        "stress": np.asarray(atoms.get_stress(), dtype=float).tolist(),
        "symbols": atoms.get_chemical_symbols(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
    }
    (folder / "small.json").write_text(json.dumps(stored))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
