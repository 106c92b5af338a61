"""Magnetic order of the frame in what is cut out of it."""

import json

import numpy as np
import pytest
from ase.build import bulk
from test_cropping import Coordination

from idealflow.core import relax_shell
from idealflow.core.cropping import Crop, crop_search, vacuum_crop, whole_frame
from idealflow.core.structure import totals_of


class Soft(Coordination):
    """The coordination, with a constant gradient to relax along."""

    def value_and_gradient(self, atoms, weights=None):  # noqa: ARG002  # the protocol's signature
        return 0.0, np.ones((len(atoms), 3)) * 1e-3, np.zeros((3, 3))


def antiferromagnet(size=5):
    """Layers of ±2 μB along z, disordered so that no two atoms are alike."""
    frame = bulk("Ni", cubic=True) * size
    frame.set_initial_magnetic_moments(np.where(np.rint(frame.positions[:, 2] / 1.76) % 2 == 0, 2.0, -2.0))
    frame.rattle(0.1, seed=1)
    return frame


def everything(frame):
    u = Coordination()
    crops = [*crop_search(u, frame, 7, n_candidates=12, max_atoms=300)][:4]
    return [*crops, vacuum_crop(u, frame, 7), whole_frame(u, frame, 7)]


def test_crops_have_the_moments_of_their_parents():
    frame = antiferromagnet()
    for crop in everything(frame):
        given = crop.atoms.get_initial_magnetic_moments()
        assert np.array_equal(given, frame.get_initial_magnetic_moments()[crop.parent_indices]), crop.cell_kind
        assert set(given) == {2.0, -2.0}
        again = Crop.from_dict(json.loads(json.dumps(crop.to_dict())))
        assert np.array_equal(again.atoms.get_initial_magnetic_moments(), given)
        assert again.atoms.positions.tobytes() == crop.atoms.positions.tobytes()


def test_the_relaxation_keeps_them():
    frame = antiferromagnet()
    crop = next(iter(crop_search(Coordination(), frame, 7, n_candidates=12, max_atoms=300)))
    relaxed = relax_shell(Soft(), crop, max_steps=3)
    assert np.array_equal(relaxed.atoms.get_initial_magnetic_moments(), crop.atoms.get_initial_magnetic_moments())


def test_crops_of_plain_frames_are_written_as_ever():
    frame = antiferromagnet()
    frame.set_initial_magnetic_moments(None)
    for crop in everything(frame):
        assert "initial_magmoms" not in crop.atoms.arrays
        assert list(crop.to_dict())[:4] == ["numbers", "positions", "cell", "core"]


def test_only_whole_frames_have_a_charge():
    frame = antiferromagnet()
    frame.info.update(charge=2.0, spin=5.0)
    for crop in everything(frame):
        assert totals_of(crop.atoms) == ({"charge": 2.0, "spin": 5.0} if crop.cell_kind == "whole" else {})
    again = Crop.from_dict(json.loads(json.dumps(crop.to_dict())))
    assert totals_of(again.atoms) == pytest.approx({"charge": 2.0, "spin": 5.0})
