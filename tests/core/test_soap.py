import numba
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from idealflow.core import SOAP
from idealflow.core.descriptors.compression import MODES
from idealflow.core.descriptors.oracle import DScribeSOAP
from idealflow.errors import InputError

SPECIES = ("H", "N", "Cu", "Ir")
COMPRESSIONS = [None, *({"mode": mode} for mode in MODES)]


@st.composite
def cases(draw):
    """A descriptor and a structure: any cell and boundary, atoms outside the box, images of themselves."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    species = list(SPECIES[: draw(st.integers(1, 4))])
    soap = SOAP(
        species,
        r_cut=draw(st.floats(2.0, 3.5)),
        n_max=draw(st.integers(1, 7)),
        l_max=draw(st.integers(0, 6)),
        sigma=draw(st.floats(0.2, 0.8)),
        compression=draw(st.sampled_from(COMPRESSIONS)),
    )
    cell = rng.normal(size=(3, 3)) * draw(st.floats(2.0, 6.0))
    assume(abs(np.linalg.det(cell)) > 8.0)
    assume(np.min(1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)) > 1.0)
    n = draw(st.integers(1, 6))
    pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    return soap, Atoms(rng.choice(species, n), rng.uniform(-2.0, 3.0, (n, 3)) @ cell, cell=cell, pbc=pbc)


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@settings(max_examples=60, deadline=None)
@given(cases())
def test_equals_dscribe(case):
    soap, atoms = case
    assert relative_error(soap(atoms), DScribeSOAP(soap)(atoms)) < 1e-9


@pytest.mark.parametrize(("n_max", "l_max", "sigma"), [(12, 9, 0.5), (12, 9, 0.15), (9, 9, 1.0), (1, 0, 0.5)])
def test_equals_dscribe_for_large_and_small_bases(n_max, l_max, sigma):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.2, seed=1)
    soap = SOAP(["Na", "Cl"], 5.0, n_max, l_max, sigma)
    assert relative_error(soap(atoms), DScribeSOAP(soap)(atoms)) < 1e-9


@pytest.mark.parametrize(
    "atoms",
    [
        Atoms("Cu"),
        Atoms("CuH", [[0, 0, 0], [0, 0, 1.5]]),
        molecule("NH3"),
        fcc111("Cu", (2, 2, 3), vacuum=6.0),
        Atoms("Ir", cell=np.eye(3) * 2.2, pbc=(True, False, False)),
    ],
    ids=["lone atom", "dimer", "molecule", "slab", "chain"],
)
def test_equals_dscribe_without_full_periodicity(atoms):
    soap = SOAP(SPECIES, 4.0, 5, 4, 0.4)
    assert relative_error(soap(atoms), DScribeSOAP(soap)(atoms)) < 1e-9


def pairs_near_the_cutoff(soap, atoms, margin):
    vec = soap.prepare(atoms).grid.pairs().vec
    outer = type(soap.prepare(atoms).grid)(atoms.positions, np.asarray(atoms.cell), atoms.pbc, soap.cutoff + margin)
    inner = np.linalg.norm(vec, axis=1) > soap.cutoff - margin
    return inner.any() or len(outer.pairs().j) > len(vec)


@settings(max_examples=25, deadline=None)
@given(cases(), st.integers(0, 2**32 - 1))
def test_gradient_equals_finite_differences(case, seed):
    soap, atoms = case
    step = 1e-4
    assume(not pairs_near_the_cutoff(soap, atoms, 10.0 * step))  # a hard cutoff jumps there
    assume(all(np.linalg.norm(v) > 0.3 for v in soap.prepare(atoms).grid.pairs().vec))
    weights = np.random.default_rng(seed).normal(size=(len(atoms), soap.n_features))
    in_positions, in_cell = soap.pull_back(atoms, None, lambda part, _: weights[part])

    def scalar(positions, cell):
        moved = Atoms(atoms.numbers, positions, cell=cell, pbc=atoms.pbc)
        return float((weights * soap(moved)).sum())

    def slopes(array, other, order):
        out = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            # fourth order: the third derivative of a narrow Gaussian is large
            values = []
            for k in (-2, -1, 1, 2):
                moved = array.copy()
                moved[index] += k * step
                values.append(scalar(*((moved, other) if order == 0 else (other, moved))))
            out[index] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        return out

    positions, cell = atoms.positions.copy(), np.array(atoms.cell)
    scale = np.abs(in_positions).max() + np.abs(in_cell).max() + 1e-3 * np.abs(weights * soap(atoms)).sum()
    assert np.abs(slopes(positions, cell, 0) - in_positions).max() / scale < 1e-6
    numeric = slopes(cell, positions, 1)
    numeric[~atoms.pbc] = 0.0  # vectors of directions without periodicity do nothing
    assert np.abs(numeric - in_cell).max() / scale < 1e-6


def test_gradient_of_some_atoms_only():
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.rattle(0.1, seed=3)
    soap = SOAP(["Cu"], 3.5, 4, 3, 0.4)
    weights = np.random.default_rng(0).normal(size=(len(atoms), soap.n_features))
    weights[5:] = 0.0
    whole = soap.pull_back(atoms, None, lambda part, _: weights[part])
    some = soap.pull_back(atoms, np.arange(5), lambda part, _: weights[:5][part])
    np.testing.assert_allclose(some[0], whole[0], atol=1e-10)
    np.testing.assert_allclose(some[1], whole[1], atol=1e-10)


@pytest.mark.parametrize("compression", COMPRESSIONS, ids=str)
def test_gradients_are_those_of_dscribe(compression):
    rng = np.random.default_rng(4)
    atoms = Atoms(["Cu", "N", "H", "Cu", "Ir"], rng.uniform(0.0, 3.0, (5, 3)) + 2.0 * np.arange(5)[:, None])
    soap = SOAP(SPECIES, 3.5, 4, 3, 0.4, compression=compression)
    theirs, vectors = DScribeSOAP(soap).derivatives(atoms)
    assert vectors.shape == (5, soap.n_features)
    weights = rng.normal(size=vectors.shape)
    ours = soap.pull_back(atoms, None, lambda part, _: weights[part])[0]
    assert relative_error(ours, np.einsum("if,iaxf->ax", weights, theirs)) < 1e-5  # their differences are good to that


@pytest.mark.parametrize(("mode", "n_features"), [("mu1nu1", 4 * 4 * 16), ("crossover", 4 * 4 * 10), ("mu2", 4 * 10)])
def test_compression_is_a_setting_like_others(mode, n_features):
    soap, whole = (SOAP(SPECIES, 3.5, 4, 3, 0.4, compression=c) for c in ({"mode": mode}, None))
    assert soap.n_features == n_features
    assert SOAP.from_dict(soap.to_dict()) == soap
    assert soap != whole
    assert whole == SOAP(SPECIES, 3.5, 4, 3, 0.4, compression={"mode": "off"})
    assert "compression" not in whole.to_dict()


def crossing(taper):
    """Descriptor of an atom just before and just after its neighbour crosses the cutoff."""
    soap = SOAP(["Cu"], 4.0, 6, 4, 0.4, taper=taper)
    near, far = (Atoms("Cu2", [[0, 0, 0], [0, 0, soap.cutoff + d]]) for d in (-1e-6, 1e-6))
    return soap(near)[0], soap(far)[0]


def test_a_taper_takes_the_jump_out_of_the_cutoff():
    inside, outside = crossing(0.0)
    assert np.abs(inside - outside).max() / np.abs(outside).max() > 1e-7
    inside, outside = crossing(0.5)
    assert np.abs(inside - outside).max() / np.abs(outside).max() < 1e-14


def test_a_taper_leaves_nearer_neighbours_alone():
    sharp, smooth = (SOAP(["Cu"], 4.0, 6, 4, 0.4, taper=taper) for taper in (0.0, 0.7))
    atoms = Atoms("Cu2", [[0, 0, 0], [1.0, 2.0, 4.0]])
    assert np.linalg.norm(atoms.positions[1]) < smooth.cutoff - 0.7
    assert relative_error(smooth(atoms), sharp(atoms)) < 1e-10


@pytest.fixture(scope="module")
def large():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(4)
    atoms.rattle(0.15, seed=2)
    return atoms


def test_single_precision(large):
    double, single = (SOAP(["Na", "Cl"], 4.0, 6, 4, 0.4, dtype=dtype) for dtype in ("float64", "float32"))
    expected = double(large, range(40))
    assert 1e-9 < relative_error(single(large, range(40)), expected) < 1e-5


def test_threads_change_no_bit(large):
    soap = SOAP(["Na", "Cl"], 4.0, 6, 4, 0.4)
    weights = np.random.default_rng(0).normal(size=(len(large), soap.n_features))
    before = numba.get_num_threads()
    results = []
    try:
        for n in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(n)
            results.append((soap(large), *soap.pull_back(large, None, lambda part, _: weights[part])))
    finally:
        numba.set_num_threads(before)
    for result in results:
        assert all(np.array_equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_a_prepared_frame_gives_the_same(large):
    soap = SOAP(["Na", "Cl"], 4.0, 4, 3, 0.4)
    frame = soap.prepare(large)
    assert len(frame) == len(large)
    assert np.array_equal(soap(frame, [7, 300]), soap(large)[[7, 300]])


def test_settings_round_trip():
    soap = SOAP(["Cu", 3], 4.0, 5, 2, 0.3, dtype="float32", taper=0.2)
    assert soap.species == ("Li", "Cu")
    assert soap.cutoff == pytest.approx(4.0 + 3.7169 * 0.3, abs=1e-4)
    again = SOAP.from_dict(soap.to_dict())
    assert again == soap
    assert hash(again) == hash(soap)
    assert again != SOAP(["Cu", "Li"], 4.0, 5, 2, 0.3)
    assert "taper=0.2" in repr(soap)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": []}, "species must not be empty"),
        ({"species": ["Xx"]}, "no chemical species"),
        ({"r_cut": 0.9}, "r_cut must exceed 1"),
        ({"n_max": 0}, "n_max"),
        ({"l_max": -1}, "l_max"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"dtype": "float16"}, "dtype"),
        ({"taper": 99.0}, "taper"),
        (
            {"compression": {"mode": "mu3"}},
            r"compression must be {mode: mu1nu1 \| crossover \| mu2}, got {'mode': 'mu3'}",
        ),
        ({"compression": {"mode": "mu2", "species_weighting": None}}, "leave it out for the whole descriptor"),
        ({"compression": "mu2"}, "compression must be"),
    ],
)
def test_refuses_impossible_settings(change, message):
    with pytest.raises(InputError, match=message):
        SOAP(**{"species": ["Cu"], "r_cut": 4.0, "n_max": 4, "l_max": 3, "sigma": 0.5} | change)


def test_refuses_functions_that_cannot_be_told_apart():
    with pytest.raises(InputError, match="lower n_max or raise r_cut"):
        SOAP(["Cu"], 1.5, 12, 3, 0.5)


def test_refuses_atoms_it_cannot_describe():
    soap = SOAP(["Cu"], 4.0, 4, 3, 0.5)
    with pytest.raises(InputError, match="Al not among"):
        soap(bulk("Al"))
    lost = bulk("Cu")
    lost.positions[0] = np.inf
    with pytest.raises(InputError, match="finite"):
        soap(lost)
    with pytest.raises(InputError, match="indices"):
        soap(bulk("Cu"), [1])
