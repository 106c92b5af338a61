"""The conformance kit passes what is right, and finds what is wrong in calculators that people use."""

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes

from idealflow.errors import InputError
from idealflow.forcefields import get_force_field, register_force_field
from idealflow.forcefields.local import LocalForceField
from idealflow.forcefields.registry import FORCE_FIELDS
from idealflow.testing import check_force_field
from support.labelled_cells import copper_cells

SMALL = {"species": ["Cu"], "cutoff": 3.5, "n_channels": 2, "hidden": [4]}


@pytest.fixture(scope="module")
def cells():
    return copper_cells(2, 5)


@pytest.fixture
def kit(cells, monkeypatch):
    """Run the kit on a class, registered for the test."""

    def run(kind, **settings):
        monkeypatch.setitem(FORCE_FIELDS.registered, kind.name, kind)
        return check_force_field(kind(**{**SMALL, **settings}), cells, steps=2)

    return run


class Around(Calculator):
    """A calculator around another one."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def seen(self, atoms):
        return atoms

    def changed(self, cell, results):
        return results if len(cell) else {}

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        frame = self.seen(self.atoms.copy())
        frame.calc = self.inner
        frame.get_forces()
        self.results = self.changed(frame.cell.array, dict(self.inner.results))


class AllOrNothing(Around):
    """Drops periodicity unless all three directions have it."""

    def seen(self, atoms):
        atoms.pbc = atoms.pbc.all()
        return atoms


class Signed(Around):
    """Divides by the signed volume."""

    def changed(self, cell, results):
        if "stress" in results:
            results["stress"] = results["stress"] * np.sign(np.linalg.det(cell))
        return results


class Deaf(Around):
    """Answers frames that are not finite."""

    def seen(self, atoms):
        if not np.isfinite(atoms.positions).all():
            atoms.positions = np.nan_to_num(atoms.positions, posinf=0.0)
        return atoms


class Cut(Around):
    """Computes 512 atoms at once, and forgets what is left over."""

    def changed(self, cell, results):
        del cell
        forces = results["forces"].copy()
        if len(forces) > 512:
            forces[512 * (len(forces) // 512) :] = 0.0
        return results | {"forces": forces}


@pytest.mark.parametrize(
    ("calculator", "broken"),
    [
        (AllOrNothing, "pbc TTF is that with vacuum"),
        (Signed, "left-handed cell .*stress"),
        (Deaf, "NaN positions are refused"),
        (Cut, "copies of a cell is that cell: forces differ"),
    ],
)
def test_calculators_that_people_use_are_found_out(kit, calculator, broken):
    class Broken(LocalForceField):
        name = "broken"

        def calculator(self):
            return calculator(super().calculator())

    with pytest.raises(AssertionError, match=broken):
        kit(Broken)


def test_the_small_m3gnet_passes(cells):
    small = get_force_field("m3gnet", species=["Cu"], n_blocks=2, units=32)
    found = check_force_field(small, cells, steps=2)
    assert found.force_error < 1e-3
    assert found.stress_error < 1e-3


def test_a_class_that_is_not_registered_is_told_to_register(cells):
    class Mine(LocalForceField):
        name = "mine"

    with pytest.raises(InputError, match=r'call register_force_field\("mine", Mine\)'):
        check_force_field(Mine(**SMALL), cells, steps=2)

    class Nameless(LocalForceField):
        name = None

    with pytest.raises(InputError, match=r'set name = "nameless"'):
        check_force_field(Nameless(**SMALL), cells, steps=2)

    class Local(LocalForceField):
        pass

    with pytest.raises(InputError, match=r"calls itself 'local', which is .*LocalForceField"):
        check_force_field(Local(**SMALL), cells, steps=2)


def test_a_bug_in_a_constructor_is_not_called_a_wrong_setting(monkeypatch):
    class Buggy:
        def __init__(self, species, cutoff=4.0):
            self.species, self.cutoff = species, len(cutoff)

    monkeypatch.setitem(FORCE_FIELDS.registered, "buggy", None)
    register_force_field("buggy", Buggy)
    with pytest.raises(TypeError, match="has no len"):
        get_force_field("buggy", species=["Cu"])


def test_a_long_header_is_read(monkeypatch, tmp_path, cells):
    from idealflow.forcefields import load_force_field
    from idealflow.forcefields.toolkit import write_checkpoint

    class Wordy:
        name = "wordy"

        @classmethod
        def load(cls, path):
            return cls() if path.exists() else None

    monkeypatch.setitem(FORCE_FIELDS.registered, "wordy", Wordy)
    path = write_checkpoint(tmp_path / "a", "wordy", {"notes": ["word"] * 20_000}, {})
    assert isinstance(load_force_field(path), Wordy)
