import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from idealflow.core.descriptors import NeighbourGrid, neighbour_pairs
from idealflow.core.descriptors.binning import sorted_by_bin
from idealflow.errors import InputError


@st.composite
def frames(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cell = rng.normal(size=(3, 3)) * draw(st.floats(1.0, 8.0))
    assume(abs(np.linalg.det(cell)) > 1.0)
    n = draw(st.integers(1, 40))
    pbc = np.array(draw(st.tuples(st.booleans(), st.booleans(), st.booleans())))
    return rng.uniform(-2.0, 3.0, (n, 3)) @ cell, cell, pbc, draw(st.floats(0.5, 6.0))


def rows(pairs):
    centre = np.repeat(np.arange(len(pairs.offsets) - 1), np.diff(pairs.offsets))
    return np.column_stack([centre, pairs.j, pairs.shift]), pairs.vec


def ordered(keys, vectors):
    order = np.lexsort(keys.T[::-1])
    return keys[order], vectors[order]


@settings(max_examples=80, deadline=None)
@given(frames())
def test_finds_the_pairs_ase_finds(frame):
    positions, cell, pbc, cutoff = frame
    keys, vectors = ordered(*rows(neighbour_pairs(positions, cell, pbc, cutoff)))
    i, j, shift, expected = primitive_neighbor_list("ijSD", pbc, cell, positions, cutoff, self_interaction=False)
    expected_keys, expected = ordered(np.column_stack([i, j, shift]), expected)
    assert np.array_equal(keys, expected_keys)
    np.testing.assert_allclose(vectors, expected, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(frames(), st.integers(0, 2**32 - 1))
def test_some_centres_have_the_rows_of_all(frame, seed):
    positions, cell, pbc, cutoff = frame
    grid = NeighbourGrid(positions, cell, pbc, cutoff)
    everything = grid.pairs()
    chosen = np.random.default_rng(seed).integers(0, len(positions), 5)
    some = grid.pairs(chosen)
    for place, atom in enumerate(chosen):
        here = slice(*some.offsets[place : place + 2])
        there = slice(*everything.offsets[atom : atom + 2])
        assert all(np.array_equal(a[here], b[there]) for a, b in zip(some[1:], everything[1:], strict=True))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=60))
def test_bins_are_sorted_as_numpy_sorts_them(bins):
    home = np.array(bins, dtype=np.int32)
    order, slot, starts = sorted_by_bin(home, 10)
    assert order.tolist() == np.argsort(home, kind="stable").tolist()
    assert slot[order].tolist() == list(range(len(home)))
    assert starts.tolist() == np.searchsorted(home[order], np.arange(11)).tolist()


def test_a_cell_smaller_than_the_cutoff_has_own_images():
    pairs = neighbour_pairs([[0.3, 0.1, 0.2]], np.eye(3) * 2.0, True, 2.1)
    assert len(pairs.j) == 6
    assert set(pairs.j.tolist()) == {0}
    np.testing.assert_allclose(np.linalg.norm(pairs.vec, axis=1), 2.0)


def test_two_atoms_at_one_place_see_each_other_but_not_themselves():
    pairs = neighbour_pairs(np.zeros((2, 3)), np.zeros((3, 3)), False, 1.0)
    assert pairs.j.tolist() == [1, 0]


def test_far_apart_clusters_need_no_memory_for_the_emptiness_between():
    positions = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1e7, 1e7, 1e7]])
    assert neighbour_pairs(positions, np.zeros((3, 3)), False, 1.5).j.tolist() == [1, 0]


def test_no_atoms_no_pairs():
    assert neighbour_pairs(np.zeros((0, 3)), np.eye(3), True, 1.0).offsets.tolist() == [0]


@pytest.mark.parametrize(
    ("positions", "cell", "cutoff", "message"),
    [
        ([[np.nan, 0.0, 0.0]], np.eye(3), 1.0, "atom 0"),
        ([[0.0, 0.0, 0.0]], np.zeros((3, 3)), 1.0, "span a volume"),
        ([[0.0, 0.0, 0.0]], np.eye(3), -1.0, "cutoff must be positive"),
    ],
)
def test_refuses_what_has_no_neighbours(positions, cell, cutoff, message):
    with pytest.raises(InputError, match=message):
        neighbour_pairs(positions, cell, True, cutoff)
