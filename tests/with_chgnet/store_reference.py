"""A small random CHGNet of chgnet 0.4.2 and what that package says of an alloy, stored for the tests that run without it.

.venv-chgnet/bin/python tests/with_chgnet/store_reference.py tests/fixtures/chgnet
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk
from chgnet.model import CHGNet
from chgnet.model.dynamics import CHGNetCalculator


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    widths = dict.fromkeys(
        ("atom_fea_dim", "bond_fea_dim", "angle_fea_dim", "atom_conv_hidden_dim", "bond_conv_hidden_dim"), 4
    )
    shape = {"num_radial": 5, "num_angular": 5, "n_conv": 4, "mlp_hidden_dims": [4], "atom_graph_cutoff": 4.5}
    model = CHGNet(**widths, **shape, bond_graph_cutoff=3.2, cutoff_coeff=6, conv_norm=None)
    path = folder / "small.pth.tar"
    torch.save({"model": model.as_dict()}, path)
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.symbols[::3] = "Al"
    atoms.rattle(0.1, seed=3)
    atoms.calc = CHGNetCalculator(CHGNet.from_file(str(path)), use_device="cpu")
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
