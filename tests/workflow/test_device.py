"""The device of the uncertainty is the site's: from the environment, not from a campaign's settings."""

import numpy as np
import pytest
from ase.build import bulk

from idealflow.core import SOAP, UncertaintyModel
from idealflow.errors import InputError
from idealflow.workflow.learner.uncertainties import load_uncertainty


def test_uncertainties_are_loaded_onto_the_sites_device(tmp_path, monkeypatch):
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.rattle(0.1, seed=0)
    path = UncertaintyModel.fit([atoms], SOAP(["Cu"], 3.0, 3, 2, 0.4)).save(tmp_path / "model")
    numba = load_uncertainty(path)
    monkeypatch.setenv("IDEALFLOW_UNCERTAINTY_DEVICE", "cpu")
    torch = load_uncertainty(path)
    assert (numba.device, torch.device) == (None, "cpu")
    np.testing.assert_allclose(torch(atoms), numba(atoms), rtol=1e-10)
    monkeypatch.setenv("IDEALFLOW_UNCERTAINTY_DEVICE", "nowhere")
    with pytest.raises(InputError, match="got 'nowhere'"):
        load_uncertainty(path)
