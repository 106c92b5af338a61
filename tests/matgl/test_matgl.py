"""Equal to matgl, the oracle: run by `make test-matgl` in an environment of its own."""

import numpy as np
import pytest
from models import ELEMENTS, calculator_of, potential_of

from idealflow.forcefields.m3gnet import M3GNetForceField, from_matgl
from support.sheared_alloy import alloy

pytestmark = pytest.mark.matgl


@pytest.mark.parametrize(
    ("variant", "n_blocks", "units"),
    [("matgl-smooth", 2, 32), ("matgl", 2, 32), ("paper", 2, 32), ("paper", 4, 128)],
)
def test_energy_forces_and_stress_are_those_of_matgl(variant, n_blocks, units):
    potential = potential_of(variant, n_blocks, units)
    settings, weights = from_matgl(potential.state_dict(), ELEMENTS, variant=variant)
    ours, theirs = alloy() * (1, 2, 2), alloy() * (1, 2, 2)
    ours.calc = M3GNetForceField.with_weights(settings, weights, precision="double").calculator()
    theirs.calc = calculator_of(potential)
    assert abs(ours.get_potential_energy() - theirs.get_potential_energy()) / len(ours) < 1e-6
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), rtol=0, atol=1e-6)


def test_the_kind_of_functions_is_inferred_from_the_weights():
    for variant in ("matgl-smooth", "matgl"):
        settings, _ = from_matgl(potential_of(variant, 1, 4).state_dict(), ELEMENTS)
        assert (settings["variant"], settings["max_n"], settings["max_l"]) == (variant, 4, 4)
