"""A campaign's schedule gone through again by its last model, without learning: more frames to compare models on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from idealflow.provenance import CampaignChain, sample_campaign
from workbench.grains import melted_again


def test_it_begins_at_rest_and_goes_the_rest_of_the_schedule(tmp_path: Path) -> None:
    chain = CampaignChain([sample_campaign()])
    frames = melted_again(chain, tmp_path, n_frames=4, interval=10)
    assert [int(atoms.info["step"]) for atoms in frames] == [10, 20, 30, 40]
    calculator = chain.last_model().calculator()
    for atoms in frames:
        known = float(atoms.info["energy"])
        atoms.calc = calculator
        assert np.isclose(atoms.get_potential_energy(), known, rtol=0.0, atol=1e-6)
    again = melted_again(chain, tmp_path, n_frames=4, interval=10)
    assert np.array_equal(again[-1].positions, frames[-1].positions)
    assert melted_again(chain, tmp_path, n_frames=0) == []
