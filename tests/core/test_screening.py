import numpy as np
import pytest
from ase.build import bulk

from idealflow.core import SOAP, UncertaintyModel, screen
from idealflow.core.coverage import COVER_RADIUS
from idealflow.core.screening import ScreenedFrame
from idealflow.errors import InputError


def silver_copper(rattle, seed, repeat=4):
    atoms = bulk("Cu", "fcc", a=3.8, cubic=True).repeat(repeat)
    atoms.symbols[::2] = "Ag"
    atoms.rattle(rattle, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def model():
    model = UncertaintyModel.fit([silver_copper(0.05, seed) for seed in range(6)], SOAP(["Cu", "Ag"], 3.5, 3, 3, 0.4))
    model.cover(silver_copper(0.3, 99), [3, 40])
    return model


@pytest.mark.parametrize(("threshold", "limit"), [(3.0, None), (8.0, None), (3.0, 5), (8.0, 1)])
def test_centres_follow_the_rule(model, threshold, limit):
    """Recomputed atom by atom: uncertain, uncovered, outside chosen cores, unlike chosen ones."""
    frame = silver_copper(0.25, 1)
    found = ScreenedFrame.of(model, frame, threshold, limit)
    u, vectors = model(frame), model.descriptors(frame)
    np.testing.assert_array_equal(found.values, u)
    np.testing.assert_array_equal(found.triggering, (u > threshold) & ~model.covered(frame, threshold))
    kinds = [model.species.index(symbol) for symbol in frame.symbols]
    expected = []
    for atom in sorted(np.flatnonzero(found.triggering), key=lambda i: (-u[i], i)):
        near = any(frame.get_distance(atom, other, mic=True) <= model.cutoff for other in expected)

        def alike(other, atom=atom):
            pair = model.whitened(vectors[[atom, other]], kinds[atom])
            return kinds[atom] == kinds[other] and ((pair[0] - pair[1]) ** 2).sum() <= COVER_RADIUS * threshold

        if not near and not any(alike(other) for other in expected):
            expected.append(int(atom))
    assert found.centres.tolist() == expected[:limit]
    assert len(expected) >= 1
    assert screen(model, frame, threshold, limit).tolist() == expected[:limit]


def test_the_most_uncertain_come_first(model):
    frame = silver_copper(0.3, 2)
    values = model(frame)[screen(model, frame, 2.0)]
    assert len(values) > 1
    assert (np.diff(values) <= 0).all()


def test_values_at_hand_are_used(model):
    frame = silver_copper(0.05, 3)
    values = np.zeros(len(frame))
    values[17] = 1e6
    assert screen(model, frame, 5.0, values=values).tolist() == [17]


def test_a_quiet_frame_has_no_centres(model):
    found = ScreenedFrame.of(model, silver_copper(0.05, 50), 50.0)
    assert found.centres.size == 0
    assert not found.triggering.any()


def test_a_species_never_seen_triggers():
    model = UncertaintyModel.fit([bulk("Cu", cubic=True)], SOAP(["Cu", "Ag"], 3.5, 3, 3, 0.4))
    frame = bulk("Cu", cubic=True).repeat(4)
    frame.symbols[9] = "Ag"
    found = ScreenedFrame.of(model, frame, 1e9, max_centres=1)
    assert found.centres.tolist() == [9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": -1.0}, "threshold must be at least 0"),
        ({"threshold": np.nan}, "threshold must be at least 0"),
        ({"threshold": 1.0, "max_centres": 0}, "max_centres must be at least 1"),
        ({"threshold": 1.0, "values": np.zeros(3)}, "values must be one per atom"),
    ],
)
def test_refusals(model, arguments, message):
    with pytest.raises(InputError, match=message):
        screen(model, silver_copper(0.1, 0), **arguments)
