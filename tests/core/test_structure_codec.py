"""What a structure carries: written, read back, tiled and cut without loss; plain structures are written as ever."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixCom, FixedLine, FixedPlane, FixScaled
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.core.fixed_atoms import constraints_of, fixed_directions, set_fixed
from idealflow.core.overlap import find_overlap
from idealflow.core.structure import from_arrays, inherit_moments, of_the_label, repeated_totals, to_arrays, totals_of
from idealflow.errors import InputError

PLAIN = {"numbers", "positions", "cell", "pbc"}


def carrier(seed=0, n=7):
    """Atoms that carry everything."""
    rng = np.random.default_rng(seed)
    atoms = Atoms(
        rng.integers(1, 90, n), rng.normal(0, 5, (n, 3)), cell=rng.normal(0, 9, (3, 3)), pbc=rng.random(3) < 0.5
    )
    atoms.set_masses(rng.uniform(1, 200, n))
    atoms.set_initial_magnetic_moments(rng.normal(0, 2, n))
    atoms.info.update(charge=-1.5, spin=4)
    set_fixed(atoms, rng.random((n, 3)) < 0.4)
    return atoms


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 12))
def test_everything_carried_comes_back_to_the_bit(seed, n):
    atoms = carrier(seed, n)
    arrays = to_arrays(atoms)
    back = to_arrays(from_arrays(arrays))
    assert set(back) == set(arrays) >= PLAIN | {"masses", "moments", "charge", "spin"}
    for name, array in arrays.items():
        assert np.array_equal(back[name], array), name
    through_lists = to_arrays(from_arrays({name: array.tolist() for name, array in arrays.items()}))
    assert all(np.array_equal(through_lists[name], array) for name, array in arrays.items())


def test_what_is_not_carried_is_not_written():
    atoms = bulk("Cu", cubic=True)
    atoms.set_tags([1, 2, 3, 4])
    atoms.set_masses()  # those of the elements
    atoms.info.update(charge=0, spin=1, comment="neutral singlet")
    assert set(to_arrays(atoms)) == PLAIN
    nothing = dict.fromkeys(("masses", "fixed", "moments", "charge", "spin"))
    assert set(to_arrays(from_arrays(to_arrays(atoms) | nothing))) == PLAIN


@settings(max_examples=60, deadline=None)
@given(mask=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=9))
def test_constraints_of_fixed_directions_fix_these_and_no_others(mask):
    atoms = Atoms("Ar" * len(mask), np.arange(3.0 * len(mask)).reshape(-1, 3), constraint=constraints_of(mask))
    assert np.array_equal(fixed_directions(atoms), mask)
    before = atoms.positions.copy()
    atoms.set_positions(before + 1.0)
    assert np.array_equal(atoms.positions == before, mask)
    assert atoms.get_number_of_degrees_of_freedom() == (~np.array(mask)).sum()


def test_every_way_to_fix_a_cartesian_direction_is_understood():
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)  # its first two vectors are no Cartesian directions
    x, y, z = np.eye(3, dtype=bool)
    for constraint, fixed in (
        (FixAtoms([0]), x | y | z),
        (FixCartesian(0, [True, False, True]), x | z),
        (FixScaled([0], [False, False, True]), z),  # selective dynamics T T F
        (FixScaled([0], [True, True, False]), x | y),
        (FixedPlane(0, [0, 0, -2]), z),
        (FixedLine(0, [0, 3, 0]), x | z),
        (FixCom(), ~(x | y | z)),
    ):
        slab.set_constraint(constraint)
        found = fixed_directions(slab)
        assert np.array_equal(found[0], fixed), constraint
        assert not found[1:].any()
    slab.set_constraint([FixAtoms([0]), FixCartesian([0, 1], [True, False, False])])
    assert fixed_directions(slab)[:2].tolist() == [[True] * 3, [True, False, False]]


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (FixScaled([3], [True, False, False]), "atom 3 is fixed by FixScaled along a direction that is not x, y or z"),
        (FixedLine([2], [1, 1, 0]), "atom 2 is fixed by FixedLine"),
        (FixedPlane([2], [1, 0, 1]), "atom 2 is fixed by FixedPlane"),
        (FixBondLength(0, 1), "got a FixBondLengths constraint"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(constraint, message):
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    slab.set_constraint(constraint)
    with pytest.raises(InputError, match=message):
        to_arrays(slab)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.set_initial_magnetic_moments(np.ones((4, 3))), r"one number per atom, μB, got shape \(4, 3\)"),
        (lambda a: a.set_initial_magnetic_moments([1, 2, np.nan, 0]), "atom 2 has nan"),
        (lambda a: a.info.update(charge="one"), "`charge` of a structure must be a finite number, e, got 'one'"),
        (lambda a: a.info.update(spin=1.5), "`spin` of a structure must be the multiplicity"),
    ],
)
def test_impossible_moments_charges_and_spins_are_refused(change, message):
    atoms = bulk("Cu", cubic=True)
    change(atoms)
    with pytest.raises(InputError, match=message):
        to_arrays(atoms)


def test_a_label_depends_on_moments_charge_and_spin_but_not_on_masses_and_constraints():
    atoms = carrier()
    bare = of_the_label(atoms)
    assert set(to_arrays(bare)) == PLAIN | {"moments", "charge", "spin"}
    assert not bare.constraints
    assert fixed_directions(atoms).any()  # the original is left as it was
    assert totals_of(bare) == {"charge": -1.5, "spin": 4.0}


def test_copies_add_their_charges_and_unpaired_electrons():
    assert repeated_totals({"charge": -1.0, "spin": 3.0}, 4) == {"charge": -4.0, "spin": 9.0}
    assert repeated_totals({}, 8) == {}


def test_moments_go_by_parent_atom():
    parent, child = bulk("Ni", cubic=True), Atoms("Ni3H")
    parent.set_initial_magnetic_moments([-2.0, 2.0, 0.5, 1.0])
    inherit_moments(child, parent, [3, 0, 0, -1])
    assert child.get_initial_magnetic_moments().tolist() == [1.0, -2.0, -2.0, 0.0]
    untouched = Atoms("Ni3H")
    inherit_moments(untouched, Atoms("Ni4"), [3, 0, 0, -1])
    assert "initial_magmoms" not in untouched.arrays


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 30), pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_the_worst_overlap_is_that_of_all_pairs(seed, n, pbc):
    """ASE's neighbour list is the oracle."""
    rng = np.random.default_rng(seed)
    atoms = Atoms(rng.choice([1, 8, 29, 55], n), rng.uniform(-6, 12, (n, 3)), cell=rng.uniform(1, 6, 3) + 1, pbc=pbc)
    from ase.data import covalent_radii

    radii = covalent_radii[atoms.numbers]
    i, j, d = neighbor_list("ijd", atoms, 2.5)
    ratio = d / (0.5 * (radii[i] + radii[j]))
    found = find_overlap(atoms)
    if not (ratio < 1.0).any():
        assert found is None
        return
    assert found.distance / found.least == pytest.approx(ratio.min(), rel=1e-9)
    assert found.least == pytest.approx(0.5 * (radii[found.i] + radii[found.j]))


def test_overlaps_are_named():
    dimer = Atoms("CuH", [[0, 0, 0], [0, 0, 0.4]])
    assert find_overlap(dimer).described(dimer) == (
        "atoms 0 (Cu) and 1 (H) are 0.400 Å apart; at least half the sum of their covalent radii, 0.815 Å, is needed"
    )
    thin = Atoms("Cu", cell=[1.0, 5, 5], pbc=True)
    assert "atom 0 (Cu) and its periodic image are 1.000 Å apart" in find_overlap(thin).described(thin)
    heap = Atoms("Cu50000", np.zeros((50_000, 3)))  # as many pairs as would fill 20 GB
    assert find_overlap(heap)[:3] == (0, 1, 0.0)
    assert find_overlap(bulk("Cu")) is None
