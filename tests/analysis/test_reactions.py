"""Bonds, molecules and events along trajectories."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

from idealflow.analysis import (
    BondRule,
    Molecule,
    ReactionEvent,
    adsorption_events,
    bonds_along,
    held_along,
    molecules_along,
    molecules_of,
    one_bond_each,
    reaction_events,
)
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
    events = reaction_events(molecules_along(symbols, [whole, whole, apart, apart], without=["Ir"]))
    assert [str(event) for event in events] == ["frame 2: N2 → N + N (atoms 1, 2)"]


def test_events_far_apart_in_one_frame_stay_two() -> None:
    events = reaction_events(molecules_along(["H"] * 4, [frozenset({(0, 1), (2, 3)}), frozenset()]))
    assert [event.atoms for event in events] == [(0, 1), (2, 3)]


def test_a_transfer_is_one_event() -> None:
    symbols = ["N", "H", "H", "N", "H"]  # NH2 + NH → NH + NH2, named by their atoms
    before, after = frozenset({(0, 1), (0, 2), (3, 4)}), frozenset({(0, 1), (2, 3), (3, 4)})
    (event,) = reaction_events(molecules_along(symbols, [before, after]))
    assert event.atoms == (0, 1, 2, 3, 4)
    assert event.reactants == event.products == ("H2N", "HN")


PAIRS = st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda pair: pair[0] < pair[1])
COURSES = st.lists(st.frozensets(PAIRS, max_size=4), min_size=1, max_size=25)


@given(course=COURSES, persistence=st.integers(1, 5))
def test_each_frame_has_each_atom_once_and_events_are_all_that_happens(
    course: list[frozenset[tuple[int, int]]], persistence: int
) -> None:
    found = molecules_along(["H", "N", "O", "H", "N", "O"], course, persistence=persistence)
    assert all(sorted(atom for one in frame for atom in one.atoms) == list(range(6)) for frame in found)
    events = reaction_events(found)
    for event in events:
        before, after = (
            [one.atoms for one in found[number] if set(one.atoms) <= set(event.atoms)]
            for number in (event.frame - 1, event.frame)
        )
        assert before != after
        assert sorted(sum(before, ())) == sorted(sum(after, ())) == list(event.atoms)
    changed = {number for number in range(1, len(found)) if found[number] != found[number - 1]}
    assert changed == {event.frame for event in events}


@given(course=COURSES, persistence=st.integers(1, 5))
def test_only_what_lasts_is_a_molecule_and_what_lasts_alone_is_one(
    course: list[frozenset[tuple[int, int]]], persistence: int
) -> None:
    raw = [set(molecules_of(["H"] * 6, bonds)) for bonds in course]
    found = [{one.atoms for one in frame} for frame in molecules_along(["H"] * 6, course, persistence=persistence)]
    assert found[0] == raw[0]
    for number in range(1, len(raw)):
        for made in found[number] - found[number - 1]:
            first = number
            while first and made in raw[first - 1]:
                first -= 1
            assert all(made in frame for frame in raw[first : first + persistence])
            assert first + persistence <= len(raw)
        if all(frame == raw[number] for frame in raw[number : number + persistence]) and number + persistence <= len(
            raw
        ):
            assert found[number] == raw[number]  # what all atoms stay in for so long has come


@given(course=COURSES)
def test_without_persistence_molecules_are_those_of_the_bonds(course: list[frozenset[tuple[int, int]]]) -> None:
    found = molecules_along(["N"] * 6, course)
    assert [[one.atoms for one in frame] for frame in found] == [molecules_of(["N"] * 6, bonds) for bonds in course]


@given(course=COURSES)
def test_an_atom_of_one_bond_keeps_the_older(course: list[frozenset[tuple[int, int]]]) -> None:
    symbols = ["H", "H", "H", "N", "N", "N"]
    found = one_bond_each(symbols, course, ["H"])
    for number, (all_of, kept) in enumerate(zip(course, found, strict=True)):
        assert kept <= all_of
        for pair in all_of:
            rivals = [one for one in kept - {pair} if {0, 1, 2} & set(one) & set(pair)]
            assert (pair in kept) == (not rivals)  # left out for another bond of the same atom, and only then
            if number and pair in found[number - 1]:
                assert pair in kept


def test_of_bonds_that_form_at_once_the_longer_lasting_is_taken() -> None:
    bonds = [frozenset(), frozenset({(0, 1), (0, 2)}), frozenset({(0, 2)})]
    assert one_bond_each(["H", "N", "N"], bonds, ["H"])[1] == {(0, 2)}


def test_a_hydrogen_molecule_that_meets_nh_makes_no_ammonia_and_leaves_a_hydrogen_there() -> None:
    """NH + H2 → NH2 + H, in which for two frames all three hydrogens are near the nitrogen or one another."""
    symbols = ["N", "H", "H", "H"]
    met, after = frozenset({(0, 1), (0, 2), (2, 3)}), frozenset({(0, 1), (0, 2)})
    course = [frozenset({(0, 1), (2, 3)})] * 4 + [met] * 2 + [after] * 4
    assert [event.products for event in reaction_events(molecules_along(symbols, course))] == [("H3N",), ("H", "H2N")]
    for found in (
        molecules_along(symbols, course, persistence=3),
        molecules_along(symbols, one_bond_each(symbols, course, ["H"])),
    ):
        assert [str(event) for event in reaction_events(found)] == ["frame 6: H2 + HN → H + H2N (atoms 0, 1, 2, 3)"]


def sliding(*heights: float, step: float = 1.0) -> tuple[list[Atoms], list[tuple[Molecule, ...]]]:
    """A nitrogen molecule at so many heights above a row of iridium atoms, along which it slides."""
    row = [[2.7 * i, 0, 0] for i in range(8)]
    frames = [
        Atoms("Ir8N2", [*row, [step * number, 0, height], [step * number, 0, height + 1.1]])
        for number, height in enumerate(heights)
    ]
    return frames, molecules_along(frames[0].get_chemical_symbols(), [frozenset({(8, 9)})] * len(frames), ["Ir"])


ON_METAL = {("N", "Ir"): BondRule(2.3, 2.8)}


def test_a_molecule_that_slides_along_the_metal_is_held() -> None:
    frames, molecules = sliding(*[2.2] * 8)
    assert [len(held) for held in held_along(frames, molecules, ON_METAL, ["Ir"], persistence=3)] == [1] * 8


def test_a_molecule_that_turns_over_is_held_until_both_ends_are_away() -> None:
    frames, molecules = sliding(*[1.9] * 6, step=0.0)
    for frame, ends in zip(
        frames, [(1.9, 3.0), (2.6, 2.7), (3.0, 2.7), (3.0, 2.1), (3.0, 2.9), (3.0, 2.7)], strict=True
    ):
        frame.positions[8:, 2] = ends
        frame.positions[8:, 0] = 0.0
    assert [len(held) for held in held_along(frames, molecules, ON_METAL, ["Ir"])] == [1, 1, 1, 1, 0, 0]


@given(heights=st.lists(st.floats(1.8, 3.4), min_size=1, max_size=20), persistence=st.integers(1, 4))
def test_being_held_follows_its_definition(heights: list[float], persistence: int) -> None:
    frames, molecules = sliding(*heights, step=0.0)
    found = [bool(held) for held in held_along(frames, molecules, ON_METAL, ["Ir"], persistence)]
    raw, here = [], False
    for height in heights:
        here = height < 2.3 or (here and height <= 2.8)
        raw.append(here)
    state, expected = raw[0], []
    for number in range(len(raw)):
        coming = raw[number : number + persistence]
        if len(coming) == persistence and all(one != state for one in coming):
            state = not state
        expected.append(state)
    assert found == expected


def test_a_molecule_is_held_where_its_atoms_were_when_it_was_made() -> None:
    """Two nitrogen atoms on the metal join; at 2.6 Å, where a bond neither forms nor breaks, what they make is still there."""
    frames = [
        Atoms("IrN2", [[0, 0, 0], [0, 0, 2.0], [0, 3.0, 2.0]]),
        Atoms("IrN2", [[0, 0, 0], [0, 0, 2.6], [0, 1.1, 2.6]]),
    ]
    molecules = molecules_along(["Ir", "N", "N"], [frozenset(), frozenset({(1, 2)})], ["Ir"])
    held = held_along(frames, molecules, ON_METAL, ["Ir"])
    assert [sorted(one.name for one in some) for some in held] == [["N"], ["N2"]]
    assert adsorption_events(molecules, held) == []


def test_a_molecule_that_turned_over_is_held_when_it_takes_up_an_atom() -> None:
    """N2 hangs by its other end at 2.7 Å, where no bond would form; with a hydrogen more it is still there."""
    symbols = ["Ir", "N", "N", "H"]
    frames = [Atoms(symbols, [[0, 0, 0], [0, 0, 2.0], [0, 0, 3.1], [0, 5, 5]])]
    frames += [Atoms(symbols, [[0, 0, 0], [0, 0, 3.2], [0, 0.7, 2.6], [0, 0, 4.2]]) for _ in range(6)]
    bonds = [frozenset({(1, 2)})] * 4 + [frozenset({(1, 2), (1, 3)})] * 3
    molecules = molecules_along(symbols, bonds, ["Ir"], persistence=2)
    held = held_along(frames, molecules, ON_METAL, ["Ir"], persistence=2)
    assert [[one.name for one in some] for some in held] == [["N2"]] * 4 + [["HN2"]] * 3


def test_a_contact_in_the_frame_in_which_a_molecule_is_made_is_too_short() -> None:
    symbols = ["Ir", "N", "N"]
    heights = [4.0, 4.0, 4.0, 2.0, 4.0, 4.0, 4.0]
    frames = [Atoms(symbols, [[0, 0, 0], [0, 0, height], [0, 1.1, height]]) for height in heights]
    molecules = molecules_along(symbols, [frozenset()] * 3 + [frozenset({(1, 2)})] * 4, ["Ir"])
    assert held_along(frames, molecules, ON_METAL, ["Ir"], persistence=2) == [frozenset()] * 7
    assert [len(some) for some in held_along(frames, molecules, ON_METAL, ["Ir"])] == [0, 0, 0, 1, 0, 0, 0]


def test_a_bond_at_the_distance_where_it_breaks_is_kept_whatever_other_rules_there_are() -> None:
    frames = stretched(0.8, 1.2)
    for more in ({}, {("N", "N"): BondRule(1.0, 2.0)}):
        assert [len(bonds) for bonds in bonds_along(frames, HYDROGEN | more)] == [1, 1]


def test_a_molecule_that_leaves_the_metal_and_comes_back() -> None:
    frames, molecules = sliding(2.0, 2.0, 3.5, 3.5, 2.0, step=0.0)
    found = adsorption_events(molecules, held_along(frames, molecules, ON_METAL, ["Ir"]))
    assert [str(event) for event in found] == [
        "frame 2: N2* → N2 (atoms 8, 9)",
        "frame 4: N2 → N2* (atoms 8, 9)",
    ]


def test_a_molecule_that_changes_as_it_leaves_is_a_reaction() -> None:
    molecules = [(Molecule((0,), "N"), Molecule((1,), "H")), (Molecule((0, 1), "HN"),)]
    assert adsorption_events(molecules, [frozenset(molecules[0][:1]), frozenset()]) == []
    assert reaction_events(molecules) == [ReactionEvent(1, (0, 1), ("H", "N"), ("HN",))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BondRule(0.0, 1.0), "positive and finite"),
        (lambda: bonds_along([], {}), "no rule says when"),
        (lambda: bonds_along([], {("H", "Xx"): BondRule(1, 2)}), "unknown element 'Xx'"),
        (lambda: bonds_along([], HYDROGEN, persistence=0), "`persistence` must be"),
        (lambda: bonds_along([], {("H", "N"): BondRule(1, 2), ("N", "H"): BondRule(1, 3)}), "two different rules"),
        (lambda: bonds_along([Atoms("H"), Atoms("N")], HYDROGEN), "frame 1 has other atoms"),
        (lambda: molecules_along(["H"], [frozenset()], persistence=0), "`persistence` must be"),
        (lambda: molecules_along(["H"], [frozenset()], persistence=True), "`persistence` must be"),
        (lambda: molecules_along(["H"], [frozenset({(0, 1)})]), "between atoms 0 and 1, but there are symbols of 1"),
        (
            lambda: one_bond_each(["H"], [frozenset({(0, 1)})], ["H"]),
            "between atoms 0 and 1, but there are symbols of 1",
        ),
        (lambda: one_bond_each(["H"], [frozenset()], ["X0"]), "unknown element 'X0'"),
        (
            lambda: reaction_events([[Molecule((0,), "H")], [Molecule((1,), "H")]]),
            "not of the atoms of the frame before",
        ),
        (lambda: adsorption_events([()], []), "got 1 and 0; give both"),
        (
            lambda: held_along([Atoms("N")], [[Molecule((1,), "N")]], ON_METAL, ["Ir"]),
            "N has atom 1, but a frame has 1",
        ),
        (
            lambda: held_along([Atoms("Ir")], [[Molecule((0,), "Ir")]], ON_METAL, ["Ir"]),
            r"an atom of the surface \(Ir\)",
        ),
        (lambda: held_along([], [], HYDROGEN, ["Ir"]), r"no rule is for a bond between the surface \(Ir\)"),
        (lambda: held_along([Atoms("N")] * 2, [()], ON_METAL, ["Ir"]), "got 1 lists of them and more frames"),
        (lambda: held_along([Atoms("N")], [(), ()], ON_METAL, ["Ir"]), "got 2 lists of them and 1 frames"),
    ],
)
def test_bad_input_is_named(call, message) -> None:  # type: ignore[no-untyped-def]  # of any call
    with pytest.raises(InputError, match=message):
        call()
