"""M3GNets of matgl with random weights in double precision, and their calculator."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

ELEMENTS = ["Cu", "Al"]


def potential_of(variant: str, n_blocks: int, units: int, max_n: int = 4, max_l: int = 4) -> Any:
    """A potential whose network is the variant of ours, or can be made it."""
    from matgl.apps.pes import Potential
    from matgl.layers import SphericalBesselWithHarmonics

    import matgl
    from matgl.models import M3GNet

    matgl.set_default_dtype("float", 64)
    torch.manual_seed(1)
    model = M3GNet(
        element_types=tuple(ELEMENTS),
        dim_node_embedding=units,
        dim_edge_embedding=units,
        max_n=max_n,
        max_l=max_l,
        nblocks=n_blocks,
        units=units,
        is_intensive=False,
        use_smooth=variant != "matgl",
        cutoff=5.0,
        threebody_cutoff=4.0,
    )
    if variant == "paper":
        model.basis_expansion = SphericalBesselWithHarmonics(
            max_n=max_n, max_l=max_l, cutoff=5.0, use_phi=False, use_smooth=False
        )
    made = Potential(model.double(), element_refs=np.array([-3.0, -2.0]), data_std=20.0).double()
    return made.eval()


def calculator_of(potential: Any) -> Any:
    """matgl's ASE calculator, with the stress as ASE has it."""
    from matgl.ext.ase import PESCalculator

    return PESCalculator(potential, stress_unit="eV/A3", use_voigt=True)
