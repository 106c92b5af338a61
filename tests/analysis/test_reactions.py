"""Bonds, molecules and events along trajectories."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

from idealflow.analysis import BondRule, adsorption_events, bonds_along, molecules_of, reaction_events
from idealflow.errors import InputError

HYDROGEN = {("H", "H"): BondRule(0.9, 1.2)}


def stretched(*lengths: float) -> list[Atoms]:
    return [Atoms("H2", [[0, 0, 0], [0, 0, length]]) for length in lengths]


def test_bonds_of_molecules_at_rest() -> None:
    rules = {("O", "H"): BondRule(1.1, 1.4), ("H", "H"): BondRule(0.9, 1.2)}
    (bonds,) = bonds_along([molecule("H2O")], rules)
    assert bonds == {(0, 1), (0, 2)}  # oxygen is first


def test_a_bond_across_the_boundary_counts() -> None:
    frame = Atoms("H2", [[0, 0, 0.2], [0, 0, 9.6]], cell=[10, 10, 10], pbc=True)
    assert bonds_along([frame], HYDROGEN) == [frozenset({(0, 1)})]
    frame.pbc = False
    assert bonds_along([frame], HYDROGEN) == [frozenset()]


@given(lengths=st.lists(st.floats(0.6, 1.6), min_size=1, max_size=30), persistence=st.integers(1, 4))
def test_hysteresis_and_persistence_follow_their_definition(lengths: list[float], persistence: int) -> None:
    found = [bool(bonds) for bonds in bonds_along(stretched(*lengths), HYDROGEN, persistence)]
    raw, bonded = [], False
    for length in lengths:
        bonded = length < 0.9 or (bonded and length <= 1.2)
        raw.append(bonded)
    state, expected = raw[0], [raw[0]]
    for number in range(1, len(raw)):
        coming = raw[number : number + persistence]
        if len(coming) == persistence and all(one != state for one in coming):
            state = not state
        expected.append(state)
    assert found == expected


@given(bonds=st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=15))
def test_molecules_are_connected_components(bonds: set[tuple[int, int]]) -> None:
    pairs = [(min(pair), max(pair)) for pair in bonds]
    reached = np.eye(12, dtype=bool)
    for i, j in pairs:
        reached[i, j] = reached[j, i] = True
    for _ in range(4):  # in 16 steps every atom of a molecule of 12 is reached
        reached = reached @ reached
    assert molecules_of(["H"] * 12, pairs) == sorted({tuple(np.flatnonzero(row).tolist()) for row in reached})


def test_a_dissociation_on_a_metal_is_one_event() -> None:
    symbols = ["Ir", "N", "N", "H"]
    whole, apart = frozenset({(1, 2), (0, 1)}), frozenset({(0, 1), (0, 2)})
    events = reaction_events(symbols, [whole, whole, apart, apart], without=["Ir"])
    assert [str(event) for event in events] == ["frame 2: N2 → N + N (atoms 1, 2)"]


def test_events_far_apart_in_one_frame_stay_two() -> None:
    events = reaction_events(["H"] * 4, [frozenset({(0, 1), (2, 3)}), frozenset()])
    assert [event.atoms for event in events] == [(0, 1), (2, 3)]


def test_a_transfer_is_one_event() -> None:
    symbols = ["N", "H", "H", "N", "H"]  # NH2 + NH → NH + NH2, named by their atoms
    before, after = frozenset({(0, 1), (0, 2), (3, 4)}), frozenset({(0, 1), (2, 3), (3, 4)})
    (event,) = reaction_events(symbols, [before, after])
    assert event.atoms == (0, 1, 2, 3, 4)
    assert event.reactants == event.products == ("H2N", "HN")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BondRule(0.0, 1.0), "positive and finite"),
        (lambda: bonds_along([], {}), "no rule says when"),
        (lambda: bonds_along([], {("H", "Xx"): BondRule(1, 2)}), "unknown element 'Xx'"),
        (lambda: bonds_along([], HYDROGEN, persistence=0), "`persistence` must be"),
        (lambda: bonds_along([], {("H", "N"): BondRule(1, 2), ("N", "H"): BondRule(1, 3)}), "two different rules"),
        (lambda: bonds_along([Atoms("H"), Atoms("N")], HYDROGEN), "frame 1 has other atoms"),
    ],
)
def test_bad_input_is_named(call, message) -> None:  # type: ignore[no-untyped-def]  # of any call
    with pytest.raises(InputError, match=message):
        call()


def test_a_molecule_that_leaves_the_metal_and_comes_back() -> None:
    symbols = ["N", "N", "Ir", "H"]
    free, held = frozenset({(0, 1)}), frozenset({(0, 1), (1, 2)})
    found = adsorption_events(symbols, [held, held, free, free, held], surface=["Ir"])
    assert [str(event) for event in found] == [
        "frame 2: N2* → N2 (atoms 0, 1)",
        "frame 4: N2 → N2* (atoms 0, 1)",
    ]


def test_a_molecule_that_changes_as_it_leaves_is_a_reaction() -> None:
    symbols = ["N", "H", "Ir"]
    bonds = [frozenset({(0, 2)}), frozenset({(0, 1)})]  # a bound N takes up the H and goes
    assert adsorption_events(symbols, bonds, ["Ir"]) == []
    assert [event.products for event in reaction_events(symbols, bonds, ["Ir"])] == [("HN",)]


def test_bonds_within_the_surface_hold_nothing() -> None:
    assert adsorption_events(["Ir", "Ir", "H"], [frozenset(), frozenset({(0, 1)})], ["Ir"]) == []
