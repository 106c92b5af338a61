"""The mixture: components are merged exactly, begin with enough, and see what one Gaussian is blind to."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from idealflow.core import SOAP, MixtureModel, UncertaintyModel, load_uncertainty
from idealflow.core.averaging import Neighbourhoods
from idealflow.core.components import Component, Components
from idealflow.core.distribution import Moments
from idealflow.core.leaning import lean
from idealflow.core.splitting import parts_of
from idealflow.errors import InputError
from idealflow.testing import check_uncertainty

COPPER = SOAP(["Cu"], r_cut=3.0, n_max=4, l_max=4, sigma=0.4)


def cell(structure, a, width, seed, repeat=3):
    atoms = bulk("Cu", structure, a=a, cubic=True) * repeat
    atoms.rattle(width, seed=seed)
    return atoms


def crystal(seed, width=0.05, repeat=3):
    return cell("fcc", 3.6, width, seed, repeat)


def melted(seed):
    return crystal(seed, width=0.3)


KNOWN = [*map(crystal, range(4)), *map(melted, range(4))]


@pytest.fixture(scope="module")
def model():
    return MixtureModel.fit(KNOWN, COPPER)


def test_it_keeps_the_conventions_and_its_gradient_is_exact(model):
    found = check_uncertainty(model, [crystal(50, 0.2, 2)], displacement=2e-5, tolerance=1e-6)
    assert max(found.gradient_error, found.cell_error) < 1e-6
    alloy = [crystal(seed, 0.1, 2) for seed in range(8)]
    for atoms in alloy:
        atoms.symbols[::3] = "Ni"
    both = MixtureModel.fit(alloy[:7], SOAP(["Cu", "Ni"], r_cut=3.0, n_max=3, l_max=3, sigma=0.3), sketch=24)
    check_uncertainty(both, alloy[7:], tolerance=1e-6, displacement=2e-5)


def test_a_phase_between_what_is_known_stands_out(model):
    base = model.base
    assert model.n_components["Cu"] >= 2

    def shares(atoms):
        return np.median(base(atoms)) / base.auto_threshold(), np.median(model(atoms)) / model.auto_threshold()

    blind, sharp = shares(cell("bcc", 2.86, 0.05, 9))
    _, known = shares(crystal(90))
    assert blind < 0.02
    assert sharp > 20 * blind
    assert sharp > 2 * known
    # and nothing that the default sees is lost
    for atoms in (crystal(91), melted(92), cell("bcc", 2.86, 0.4, 9)):
        assert (model(atoms) / model.auto_threshold() >= base(atoms) / base.auto_threshold() * (1 - 1e-12)).all()


def test_averages_are_those_of_the_formula():
    atoms = crystal(3, 0.1, 2)
    frame, radius = COPPER.prepare(atoms), 3.5
    around = Neighbourhoods(frame, np.array([4, 0, 9]), radius)
    rows = np.random.default_rng(0).normal(size=(len(around.members), 5))
    i, j, lengths = _pairs(atoms, radius)
    share = np.clip(2 * lengths / radius - 1, 0, 1)
    weights = 1 - 3 * share**2 + 2 * share**3
    for found, centre in zip(around.averages(rows), (4, 0, 9), strict=True):
        near = i == centre
        own = rows[np.searchsorted(around.members, centre)]
        others = rows[np.searchsorted(around.members, j[near])]
        expected = (own + weights[near] @ others) / (1 + weights[near].sum())
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def _pairs(atoms, radius):
    from ase.neighborlist import neighbor_list

    return neighbor_list("ijd", atoms, radius)


def test_parts_are_never_small_and_the_same_for_a_seed():
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.normal(size=(400, 4)) * 0.02, rng.normal(size=(400, 4)), [[40.0] * 4, [-60.0] * 4]])
    labels = parts_of(rows, most=8, least=40, seed=3)
    assert len(np.unique(labels)) >= 2
    assert np.bincount(labels).min() >= 40
    assert (labels[:400] == labels[0]).mean() > 0.95
    assert (labels[400:800] == labels[0]).mean() < 0.05
    np.testing.assert_array_equal(labels, parts_of(rows, most=8, least=40, seed=3))
    # one Gaussian is not cut, nor are a few vectors, nor many copies of a few
    assert not parts_of(rng.normal(size=(2000, 6)), 8, 40, 0).any()
    assert not parts_of(rows[395:405], 8, 40, 0).any()
    assert not parts_of(np.repeat(rows[:30], 40, axis=0), 8, 40, 0).any()


def heap(rng, place, n=60, width=1.0):
    return rng.normal(size=(n, 3)) * width + place


def test_what_joins_is_merged_exactly():
    rng = np.random.default_rng(0)
    known = Components(3, most=4, least=40, relative_cut=1e-7, seed=0)
    first = np.concatenate([heap(rng, 0.0), heap(rng, 50.0)])
    known.join(first)
    assert len(known.parts) == 2
    pieces = [heap(rng, place, n=7, width=0.2) for place in (0.0, 50.0, 0.0, 50.0)]
    for piece in pieces:
        known.join(piece)
    for place in (0.0, 50.0):
        whole = np.concatenate([rows for rows in (first[:60], first[60:], *pieces) if abs(rows.mean() - place) < 5])
        part = next(part for part in known.parts if abs(part.distribution.mean.mean() - place) < 5)
        expected = Moments.of(whole)
        assert part.distribution.n == expected.n
        np.testing.assert_allclose(part.distribution.moments.scatter, expected.scatter, rtol=1e-10)
    one, two = (Component.of(heap(rng, place), 1e-7, 0) for place in (0.0, 9.0))
    both = one.merged(two, 0)
    expected = Moments.of(np.concatenate([one.sample.rows, two.sample.rows]))
    np.testing.assert_allclose(both.distribution.moments.scatter, expected.scatter, rtol=1e-10)
    assert both.sample.count == 120


def test_strays_wait_until_they_are_enough_for_a_component():
    rng = np.random.default_rng(2)
    known = Components(3, most=3, least=40, relative_cut=1e-7, seed=0)
    known.join(heap(rng, 0.0, n=300))
    known.join(heap(rng, 80.0, n=25))
    assert (len(known.parts), len(known.strays)) == (1, 25)
    assert known.ratios(np.full((1, 3), 80.0))[0] > 1.0
    known.join(heap(rng, 80.0, n=25))
    assert (len(known.parts), len(known.strays)) == (2, 0)
    assert known.ratios(np.full((1, 3), 80.0))[0] < 1.0
    # beyond the most, the two that are most alike become one
    known.join(heap(rng, -90.0, n=50))
    known.join(heap(rng, 86.0, n=50, width=0.8))
    assert len(known.parts) == 3
    means = sorted(float(part.distribution.mean.mean()) for part in known.parts)
    assert means[0] < -80
    assert abs(means[1]) < 5
    assert 80 < means[2] < 86
    assert sum(part.distribution.n for part in known.parts) == 300 + 50 + 50 + 50


def test_a_component_that_has_doubled_is_split_where_it_is_more_than_one():
    rng = np.random.default_rng(6)
    known = Components(3, most=4, least=40, relative_cut=1e-7, seed=0)
    known.join(heap(rng, 0.0, n=100))
    for _ in range(3):
        known.join(np.concatenate([heap(rng, place, n=60, width=0.02) for place in (0.8, -0.8)]))
    assert len(known.parts) >= 3
    assert len(known.strays) == 0
    # together they count what joined, up to the rounding of shares
    assert abs(sum(part.distribution.n for part in known.parts) - 460) <= len(known.parts)
    assert known.ratios(np.full((1, 3), 0.8))[0] < 0.5
    assert known.ratios(np.array([[0.8, -0.8, 0.8]]))[0] > known.ratios(np.full((1, 3), 0.8))[0]
    one = Components(3, most=4, least=40, relative_cut=1e-7, seed=0)
    for _ in range(6):
        one.join(heap(rng, 0.0, n=100))
    assert len(one.parts) == 1


def test_centres_of_the_liquid_do_not_cover_what_only_the_mixture_sees(model):
    covering, liquid, other = model.copy(), melted(80), cell("bcc", 2.86, 0.05, 9)
    covering.cover(liquid, range(len(liquid)))
    threshold = covering.auto_threshold()
    # by the default's rule they reach around the mean, near which the other crystal lies
    assert covering.base.covered(other, covering.base.auto_threshold()).mean() > 0.5
    assert not covering.covered(other, threshold).any()
    covering.cover(other, [3])
    assert covering.covered(other, threshold)[3]


def test_tails_from_all_sides_are_no_component():
    rng = np.random.default_rng(4)
    known = Components(3, most=8, least=40, relative_cut=1e-7, seed=0)
    known.join(heap(rng, 0.0, n=400))
    around = rng.normal(size=(60, 3))
    known.join(8.0 * around / np.linalg.norm(around, axis=1, keepdims=True))
    assert len(known.parts) == 1
    assert known.parts[0].distribution.n == 460
    assert len(known.strays) == 0


def test_few_environments_say_nothing_and_grow_as_one():
    rng = np.random.default_rng(5)
    known = Components(3, most=8, least=40, relative_cut=1e-7, seed=0)
    assert np.isinf(known.ratios(np.zeros((2, 3)))).all()
    known.join(heap(rng, 0.0, n=5))
    assert known.too_few
    np.testing.assert_array_equal(known.measured(np.ones((2, 3)))[0], 0.0)
    known.join(heap(rng, 9.0, n=30))
    assert (len(known.parts), known.parts[0].distribution.n, known.too_few) == (1, 35, False)


def test_the_same_seed_gives_the_same_file_and_what_did_not_change_is_not_written_again(model, tmp_path):
    (tmp_path / "a").mkdir()
    first = model.save(tmp_path / "a" / "first")
    again = MixtureModel.fit(KNOWN, COPPER).save(tmp_path / "a" / "again")
    assert first.read_bytes() == again.read_bytes()
    lean(first, first, {})
    loaded = load_uncertainty(first)
    frame = crystal(70)
    np.testing.assert_array_equal(loaded(frame), model(frame))
    for each in (loaded, grown := model.copy()):
        each.update([melted(60)], [np.arange(108) < 20])
    np.testing.assert_array_equal(loaded(frame), grown(frame))
    second = grown.save(tmp_path / "a" / "second")
    whole = second.stat().st_size
    lean(second, first, {"path": "a/first"})
    assert second.stat().st_size < 0.5 * whole
    np.testing.assert_array_equal(load_uncertainty(second)(frame), grown(frame))


def test_an_update_costs_the_same_after_many():
    """What is kept, over which an update goes, grows up to full samples and no further."""
    rng = np.random.default_rng(7)
    known = Components(3, most=3, least=40, relative_cut=1e-7, seed=0)
    sizes = []
    for _ in range(40):
        known.join(np.concatenate([heap(rng, 0.0, n=100), heap(rng, 40.0, n=100)]))
        sizes.append(sum(array.nbytes for array in known.to_arrays()[0].values()))
    assert len(known.parts) <= 3
    assert max(sizes[20:]) < 1.1 * max(sizes[:20])
    assert sum(part.distribution.n for part in known.parts) + len(known.strays) == pytest.approx(8000, abs=8)


def test_automatic_thresholds_when_the_distribution_has_grown_tenfold():
    """`auto` is fixed by the first model: one Gaussian's tail outgrows it, the mixture is in units that follow its tails."""
    liquid = [melted(seed) for seed in range(20)]
    one, mixture = UncertaintyModel.fit(KNOWN[:2], COPPER), MixtureModel.fit(KNOWN[:2], COPPER)
    fixed = {"one": one.auto_threshold(), "mixture": mixture.auto_threshold()}
    before = np.median(one(crystal(300)))
    for model in (one, mixture):
        assert (model(liquid[0]) > model.auto_threshold()).all()
        model.update(liquid)
    new = melted(200)
    assert mixture.auto_threshold() == fixed["mixture"]
    assert (mixture(new) > fixed["mixture"]).mean() < 0.05
    assert one.auto_threshold() > 1.2 * fixed["one"]
    assert np.median(one(crystal(300))) < 0.4 * before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"components": 0}, "components must be at least 1, got 0"),
        ({"radius": 9.0}, r"radius must lie above 0 and up to the cutoff, 4.49 Å, got 9.0"),
        ({"sketch": 2}, "sketch must be at least 8"),
        ({"least": 3}, "least must be at least 20, or single atoms"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        MixtureModel(UncertaintyModel(COPPER), **settings)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("measure", [UncertaintyModel, MixtureModel])
def test_one_pass_gives_the_values_and_gradients_of_two(measure, dtype):
    def alloy(structure, a, width, seed):
        atoms = bulk("Cu", structure, a=a, cubic=True) * 3
        atoms.rattle(width, seed=seed)
        atoms.symbols[np.random.default_rng(seed).random(len(atoms)) < 0.3] = "Ni"
        return atoms

    known = [alloy("fcc", 3.6, width, seed) for width in (0.05, 0.3) for seed in range(4)]
    u = measure.fit(known, SOAP(["Cu", "Ni"], r_cut=3.0, n_max=4, l_max=4, sigma=0.4, dtype=dtype))
    frame = alloy("bcc", 2.86, 0.1, 9) * (1, 2, 3)  # two blocks of centres
    weights = np.maximum(0.0, np.random.default_rng(1).normal(size=len(frame)))
    values, pull_back = u.values_and_pull_back(frame)
    np.testing.assert_allclose(values, u(frame), rtol=1e-12)
    for one, other in zip(pull_back(weights), u.value_and_gradient(frame, weights)[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12 * np.abs(other).max())
