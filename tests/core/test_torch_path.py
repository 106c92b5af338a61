"""The torch path against the numba path, on torch's CPU device: the same tensors that a GPU would hold."""

import subprocess
import sys

import numba
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from idealflow.core import SOAP, UncertaintyModel, screen
from idealflow.core.archive import read_archive, write_archive
from idealflow.core.descriptors.compression import MODES
from idealflow.core.descriptors.torch_neighbours import TorchGrid
from idealflow.core.registry import file_kind
from idealflow.errors import InputError
from idealflow.testing import check_uncertainty
from support.uncertainties import assert_never_seen


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Small kernels on threads that share their cores with others wait for each other."""
    before = torch.get_num_threads()
    numba.get_num_threads()  # sets torch's too, the first time
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SPECIES = ("Al", "Cu", "Ag")


def on_torch(model, path):
    """The same model on torch: what a file says, read onto the device."""
    return UncertaintyModel.load(model.save(path), device="cpu")


def frame(rng, species, cell, pbc, n):
    return Atoms(rng.choice(species, n), rng.uniform(-1.5, 2.5, (n, 3)) @ cell, cell=cell, pbc=pbc)


@st.composite
def cases(draw):
    """A fitted model, and a structure: one to three species, any boundary, skewed cells narrower than the cutoff."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    species = list(SPECIES[: draw(st.integers(1, 3))])
    taper = draw(st.sampled_from([0.0, 0.6]))
    basis = {"r_cut": draw(st.floats(2.0, 3.2)), "n_max": draw(st.integers(1, 4)), "l_max": draw(st.integers(0, 5))}
    cell = rng.normal(size=(3, 3)) * draw(st.floats(2.0, 6.0))
    assume(abs(np.linalg.det(cell)) > 12.0)
    assume(np.min(1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)) > 1.2)
    pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    mode = draw(st.sampled_from(["off", *MODES]))
    soap = SOAP(species, sigma=draw(st.floats(0.3, 0.6)), taper=taper, compression={"mode": mode}, **basis)
    training = [frame(rng, species, cell, True, 8) for _ in range(6)]
    model = UncertaintyModel.fit(training, soap, pooled=draw(st.booleans()))
    return model, frame(rng, species, cell, pbc, draw(st.integers(1, 7))), rng


def difference(found, expected, scale=1e-300):
    """Largest, of the largest expected or ``scale``."""
    assert np.array_equal(np.isinf(found), np.isinf(expected))
    found, expected = (np.where(np.isinf(array), 0.0, array) for array in (found, expected))
    return np.abs(found - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), scale)


def distances(model, vectors, atoms):
    """Uncertainties from descriptors, by numpy."""
    whitened = [model.whitened(v[None], model.species.index(a.symbol)) for v, a in zip(vectors, atoms, strict=True)]
    return np.array([np.inf if y is None else (y**2).sum() for y in whitened])


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(cases())
def test_equals_the_numba_path(tmp_path, case):
    model, atoms, rng = case
    other = on_torch(model, tmp_path / "model")
    vectors, values = other.descriptors(atoms), other(atoms)
    assert difference(vectors, model.descriptors(atoms)) < 1e-10
    # a squared length is a difference of two, which may lose digits down to 1e-10, its slope one more
    assert difference(values, model(atoms)) < 1e-9
    if not model.too_few:  # of a species seen in too few environments distances are 0 or infinite
        assert difference(values, distances(model, vectors, atoms)) < 1e-9
    some = rng.permutation(len(atoms))[: len(atoms) // 2 + 1]
    assert difference(other(atoms, some, raw=True), model(atoms, some, raw=True)) < 1e-9
    weights, reference = rng.integers(0, 3, len(atoms)) + 1e-3, rng.uniform(0.3, 1.5, len(atoms)) * values + 1e-9
    for arguments in ((None, None), (weights, None), (weights, reference)):
        found, expected = other.value_and_gradient(atoms, *arguments), model.value_and_gradient(atoms, *arguments)
        scale = max(expected[0], 1e-300) if np.isfinite(expected[0]) else 1e-300
        for one, two in zip(found, expected, strict=True):
            # double precision in both; a slope of almost nothing is rounding of the value
            assert difference(np.asarray(one), np.asarray(two), scale=scale) < 1e-8


@settings(max_examples=15, deadline=None)
@given(cases())
def test_finds_the_same_pairs(case):
    model, atoms, rng = case
    grid = model.soap.prepare(atoms).grid
    centres = rng.permutation(len(atoms))
    ours, theirs = grid.pairs(centres), TorchGrid(grid, torch.device("cpu")).pairs(torch.from_numpy(centres))
    assert np.array_equal(np.repeat(np.arange(len(centres)), np.diff(ours.offsets)), theirs.centre.numpy())
    assert np.array_equal(ours.j, theirs.j.numpy())
    assert np.array_equal(ours.shift, theirs.shift.numpy())
    assert np.array_equal(ours.vec, theirs.vec.numpy())


def copper(rattle, seed, repeat=3):
    atoms = bulk("Cu", "fcc", a=3.62, cubic=True).repeat(repeat)
    atoms.rattle(rattle, seed=seed)
    return atoms


def copper_model(dtype="float64"):
    return UncertaintyModel.fit([copper(0.08, seed) for seed in range(8)], SOAP(["Cu"], 4.0, 6, 6, 0.4, dtype=dtype))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    model = copper_model()
    model.cover(copper(0.3, 77), [3, 50])
    model.cover(copper(0.25, 78), [9], quarantined=True)
    return model, on_torch(model, tmp_path_factory.mktemp("torch") / "model")


def test_keeps_the_conventions():
    model = UncertaintyModel.fit([copper(0.1, seed) for seed in range(4)], SOAP(["Cu"], 3.0, 3, 3, 0.4), device="cpu")
    slab = fcc111("Cu", (2, 2, 3), a=3.62, vacuum=8.0)
    slab.rattle(0.1, seed=1)
    narrow = copper(0.1, 5, repeat=1)
    narrow.set_cell(np.asarray(narrow.cell) @ np.array([[1, 0.1, 0], [0, 1, 0.2], [0, 0, 1]]), scale_atoms=True)
    report = check_uncertainty(model, [slab, narrow], tolerance=2e-6)
    assert report.gradient_error < 2e-6


def test_large_frames_go_in_chunks_and_are_screened_alike(models, monkeypatch):
    model, other = models
    probe = copper(0.12, 9, repeat=5)
    del probe[100]
    monkeypatch.setattr("idealflow.core.torch_engine.BUDGET", {"cpu": 1 << 20})
    monkeypatch.setattr("idealflow.core.torch_engine.COVERING", 8)
    assert difference(other(probe), model(probe)) < 1e-10
    for one, two in zip(other.value_and_gradient(probe), model.value_and_gradient(probe), strict=True):
        assert difference(np.asarray(one), np.asarray(two)) < 1e-10
    for threshold in (0.5, 3.0, 30.0):
        assert np.array_equal(screen(other, probe, threshold), screen(model, probe, threshold))


@pytest.mark.parametrize("threshold", [0.5, 5.0, 50.0])
def test_covers_the_same(models, threshold):
    model, other = models
    assert other.n_covered == model.n_covered
    probes = [copper(0.3, 77), copper(0.25, 78), copper(0.2, 79), copper(0.08, 80)]
    expected = [model.covered(atoms, threshold) for atoms in probes]
    assert np.array_equal(expected, [other.covered(atoms, threshold) for atoms in probes])
    assert expected[0][[3, 50]].all()
    assert not np.all(expected)
    assert np.array_equal(other.covered(probes[0], threshold, [50, 0, 3]), expected[0][[50, 0, 3]])


def test_a_descriptor_in_single_precision_is_computed_in_double(tmp_path):
    """So the device is closer to the CPU's double precision than the CPU's own single precision is."""
    double, single = copper_model(), copper_model("float32")
    other = on_torch(single, tmp_path / "model")
    # the same distribution, looked at in double precision
    path = single.save(tmp_path / "single")
    kind = file_kind(single.name)
    arrays, meta = read_archive(path, kind, 3)
    exact = UncertaintyModel.load(write_archive(path, kind, 3, arrays, meta | {"soap": double.soap.to_dict()}))
    probe = copper(0.2, 40)
    assert difference(other.descriptors(probe), double.descriptors(probe)) < 1e-10
    np.testing.assert_allclose(other(probe), exact(probe), rtol=1e-10)
    np.testing.assert_allclose(single(probe), exact(probe), rtol=1e-3)
    assert difference(single(probe), exact(probe)) > 1e-7
    for one, two in zip(other.value_and_gradient(probe), single.value_and_gradient(probe), strict=True):
        assert difference(np.asarray(one), np.asarray(two)) < 1e-10


def test_a_species_never_seen_is_infinite():
    soap = SOAP(["Cu", "Ag"], 3.5, 3, 3, 0.4)
    model = UncertaintyModel.fit([copper(0.1, 0, repeat=2)], soap, device="cpu")
    atoms = copper(0.1, 5, repeat=2)
    atoms.symbols[7] = "Ag"
    assert_never_seen(model, atoms, 7)


def test_lone_atoms_and_atoms_in_one_place_are_finite(models):
    model, other = models
    for atoms in (Atoms("Cu"), Atoms("Cu2", [[0, 0, 0], [0, 0, 40.0]]), Atoms("Cu2", np.zeros((2, 3)))):
        assert difference(other(atoms), model(atoms)) < 1e-10
        for one, two in zip(other.value_and_gradient(atoms), model.value_and_gradient(atoms), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)
    assert other(copper(0.1, 1), []).shape == (0,)


def test_files_and_updates_know_nothing_of_the_device(models, tmp_path):
    model, other = models
    assert model.save(tmp_path / "a").read_bytes() == other.save(tmp_path / "b").read_bytes()
    one, two = model.copy(), other.copy()
    for each in (one, two):
        each.update([copper(0.15, 300)])
    probe = copper(0.2, 31)
    assert difference(two(probe), one(probe)) < 1e-10
    assert difference(two(probe), other(probe)) > 1e-3


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "got 'gpu'"),
        ("meta", "double precision"),
        pytest.param(
            "cuda", "needs a GPU", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
        ),
        ("cuda:99", "needs a GPU"),
    ],
)
def test_refuses_a_device_that_is_not_there(device, message):
    with pytest.raises(InputError, match=message):
        UncertaintyModel(SOAP(["Cu"], 3.0, 2, 2, 0.4), device=device)


def test_torch_is_not_imported_without_a_device():
    code = "import sys, idealflow.core; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
