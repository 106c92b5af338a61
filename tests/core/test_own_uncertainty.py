"""Uncertainties by name, their files, and what the kit says of those that break a convention."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from idealflow.core import (
    SOAP,
    FirstEnvironments,
    ForceFieldFit,
    ScreenedFrame,
    SOAPCoverage,
    Uncertainty,
    UncertaintyModel,
    available_uncertainties,
    load_uncertainty,
    register_uncertainty,
    uncertainty_class,
)
from idealflow.core.registry import UNCERTAINTIES, check_registered
from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import get_force_field
from idealflow.testing import check_uncertainty

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
CuAg = SOAP(["Cu", "Ag"], r_cut=3.2, n_max=3, l_max=3, sigma=0.3)


def alloy(seed):
    atoms = bulk("Cu", a=3.7, cubic=True) * (2, 2, 1)
    atoms.symbols[[1, 6, 11]] = "Ag"
    atoms.rattle(0.08, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def base():
    return UncertaintyModel.fit([alloy(seed) for seed in range(8)], CuAg)


class Scaled(SOAPCoverage):
    """The SOAP measure in other units: whatever it is asked, the answer is known."""

    factor = 3.0

    @classmethod
    def begin(cls, first, fit):
        return cls(UncertaintyModel.begin(first, fit), delta_scale=cls.factor, parameters={"factor": cls.factor})

    def __call__(self, atoms, indices=None):
        return self.parameters["factor"] * self.base(atoms, indices)

    def value_and_gradient(self, atoms, weights=None, reference=None):
        factor = float(self.parameters["factor"])
        if reference is not None:
            return self.base.value_and_gradient(atoms, weights, np.asarray(reference) / factor)
        return tuple(factor * part for part in self.base.value_and_gradient(atoms, weights))


@pytest.fixture
def scaled(base):
    return Scaled(base.copy(), Scaled.factor, {"factor": Scaled.factor})


def test_one_of_a_few_lines_keeps_the_conventions(scaled, base):
    assert isinstance(scaled, Uncertainty)
    assert Scaled.name == f"{__name__}:Scaled"
    check_uncertainty(scaled, [alloy(50)], tolerance=1e-5)
    frames, fit = [alloy(seed) for seed in range(8)], ForceFieldFit()
    begun = Scaled.begin(FirstEnvironments(frames, CuAg), fit)
    assert begun.refit(fit) is begun
    np.testing.assert_array_equal(begun(alloy(9)), 3.0 * base(alloy(9)))
    # thresholds are in its own units, and so are the distances that coverage and screening compare with them
    threshold = base.auto_threshold()
    assert begun.auto_threshold() == 3.0 * threshold
    frame = alloy(70)
    frame.positions[3] += 0.6
    expected, found = ScreenedFrame.of(base, frame, threshold), ScreenedFrame.of(begun, frame, 3.0 * threshold)
    assert len(expected.centres) > 0
    np.testing.assert_array_equal(found.centres, expected.centres)
    begun.cover(frame, expected.centres[:1])
    covering = base.copy()
    covering.cover(frame, expected.centres[:1])
    np.testing.assert_array_equal(begun.covered(frame, 3.0 * threshold), covering.covered(frame, threshold))


def test_the_threshold_of_ones_own_tail(scaled):
    values = np.linspace(0.0, 5.0, 501)
    assert scaled.matched(values).auto_threshold() == pytest.approx(2.0 * 4.95)
    assert scaled.matched(values / 100.0).auto_threshold() == pytest.approx(2.0)


def test_a_registered_class_is_found_by_name_and_by_its_file(scaled, monkeypatch, tmp_path):
    class Mine(Scaled):
        """Defined in a function: no import path leads to it."""

    mine = Mine(scaled.base, parameters={"factor": 3.0})
    with pytest.raises(InputError, match=r'Mine is not registered: .*call register_uncertainty\("mine", Mine\)'):
        check_registered(Mine)
    with pytest.raises(AssertionError, match=r"broken: its name leads to its class.*register_uncertainty"):
        check_uncertainty(mine, [alloy(50)])
    monkeypatch.setitem(UNCERTAINTIES.registered, "mine", None)  # put back afterwards
    register_uncertainty("mine", Mine)
    assert uncertainty_class("mine") is Mine
    assert "mine" in available_uncertainties()
    loaded = load_uncertainty(mine.save(tmp_path / "mine.npz"))
    assert type(loaded) is Mine
    np.testing.assert_array_equal(loaded(alloy(1)), mine(alloy(1)))
    del UNCERTAINTIES.registered["mine"]
    with pytest.raises(
        InputError, match=r"mine\.npz holds an uncertainty that is not there: unknown uncertainty 'mine'"
    ):
        load_uncertainty(tmp_path / "mine.npz")
    UNCERTAINTIES.registered["mine"] = Mine


def test_files_lead_to_their_class_by_import_path_alone(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(EXAMPLES)
    distance = uncertainty_class("my_measure:Distance")
    u = distance.begin(FirstEnvironments([alloy(seed) for seed in range(8)], CuAg), ForceFieldFit())
    path = u.save(tmp_path / "u.npz")
    monkeypatch.delitem(sys.modules, "my_measure")
    assert type(load_uncertainty(path)).__name__ == "Distance"


def test_entry_points_are_found(monkeypatch):
    class Entry:
        name = "plugged"

        def load(self):
            return Scaled

    monkeypatch.setattr(
        "idealflow.plugins.entry_points", lambda group: [Entry()] * (group == "idealflow.uncertainties")
    )
    assert "plugged" in available_uncertainties()
    assert uncertainty_class("plugged") is Scaled


class Entry:
    """An entry point that leads to what it is given, or raises it."""

    def __init__(self, name, leads_to):
        self.name, self._leads_to = name, leads_to

    def load(self):
        if isinstance(self._leads_to, Exception):
            raise self._leads_to
        return self._leads_to


@pytest.mark.parametrize(
    ("leads_to", "told"),
    [
        (
            ValueError("no licence\nfor you"),
            r"cannot import the uncertainty 'plugged' \(ValueError: no licence for you\)",
        ),
        (
            ModuleNotFoundError("No module named 'gone'"),
            r"cannot import the uncertainty 'plugged' \(ModuleNotFoundError",
        ),
        (AttributeError("module has no Nothing"), r"cannot import the uncertainty 'plugged' \(AttributeError"),
        (np.zeros, r"uncertainty 'plugged' is no class but of type builtin"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_bad_input(monkeypatch, leads_to, told):
    monkeypatch.setattr("idealflow.plugins.entry_points", lambda group: [Entry("plugged", leads_to)])  # noqa: ARG005
    with pytest.raises(InputError, match=told):
        uncertainty_class("plugged")
    with pytest.raises(InputError, match=told.replace("uncertainty", "force field")):
        get_force_field("plugged", species=["Cu"])


@pytest.mark.parametrize("name", [None, 3, ["soap"]])
def test_what_is_no_name_is_said_to_be_none(name):
    with pytest.raises(InputError, match=r"the uncertainty must be a name, got .*; available: .*committee"):
        uncertainty_class(name)


def test_a_built_in_name_is_not_given_away():
    class Shadow(Scaled):
        """Files of the default would lead to it."""

    with pytest.raises(InputError, match=r"'soap' is the uncertainty of the package itself.*Shadow under another name"):
        register_uncertainty("soap", Shadow)
    with pytest.raises(InputError, match="register_uncertainty takes a class, got 3"):
        register_uncertainty("mine", 3)
    register_uncertainty("soap", UncertaintyModel)
    assert uncertainty_class("soap") is UncertaintyModel
    del UNCERTAINTIES.registered["soap"]


def test_a_class_that_calls_itself_otherwise_is_refused():
    class Heir(UncertaintyModel):
        """Its files would say `soap`."""

    with pytest.raises(InputError, match="dict has none"):
        check_registered(dict)
    with pytest.raises(InputError, match=r"Heir calls itself 'soap', and its files say so; .*name = \"heir\""):
        register_uncertainty("heir", Heir)
    with pytest.raises(
        InputError, match=r"Heir calls itself 'soap', which is idealflow.core.uncertainty:UncertaintyModel"
    ):
        check_registered(Heir)


def test_an_heir_of_the_default_is_loaded_as_itself(base, monkeypatch, tmp_path):
    class Heir(UncertaintyModel):
        """Twice as uncertain."""

        name = "heir"

    monkeypatch.setitem(UNCERTAINTIES.registered, "heir", None)
    register_uncertainty("heir", Heir)
    heir = Heir.fit([alloy(0), alloy(1)], CuAg)
    assert type(load_uncertainty(heir.save(tmp_path / "heir.npz"))) is Heir
    with pytest.raises(ArtifactError, match=r"heir\.npz holds kind 'uncertainty:heir'"):
        UncertaintyModel.load(tmp_path / "heir.npz")


def test_the_former_name_of_the_relative_cut_is_read():
    assert UncertaintyModel(CuAg, eigen_cut=1e-5).relative_cut == UncertaintyModel(CuAg, relative_cut=1e-5).relative_cut


def covers_nothing(self, atoms, threshold, indices=None):
    return np.zeros(len(atoms if indices is None else indices), dtype=bool)


def learns_all(self, frames, masks=None, learned=None):
    self.base.update(frames)


BROKEN = {
    "a quarantined environment covers itself": {"covered": covers_nothing},
    "of a structure those atoms join that masks choose": {"update": learns_all},
    "what a copy covers, the original does not": {"copy": lambda self: self},
    "one fingerprint per atom": {"fingerprints": lambda *_: []},
    "the automatic threshold is a positive number": {"auto_threshold": lambda _: float("nan")},
    "quarantined environments are counted": {"n_quarantined": property(lambda self: dict.fromkeys(self.species, 0))},
    "the same frame has the same values": {
        "__call__": lambda self, atoms, indices=None: Scaled.__call__(self, atoms, indices) + np.random.random()  # noqa: NPY002
    },
    "species that it does not know are refused": {
        "__call__": lambda self, atoms, indices=None: (
            np.zeros(len(atoms)) if {"H"} & {*atoms.symbols} else Scaled.__call__(self, atoms, indices)
        )
    },
}


@pytest.mark.parametrize("rule", BROKEN)
def test_the_kit_names_the_rule_that_is_broken(rule, scaled, monkeypatch):
    kind = type("Broken", (Scaled,), {"name": "broken", **BROKEN[rule]})
    monkeypatch.setitem(UNCERTAINTIES.registered, "broken", kind)
    with pytest.raises(AssertionError, match=f"broken: {rule}"):
        check_uncertainty(kind(scaled.base.copy(), 3.0, {"factor": 3.0}), [alloy(50)])


def test_the_kit_names_members_that_are_missing(scaled):
    class Half:
        """A measure that cannot run a campaign."""

        name = "half"

        def __call__(self, atoms, indices=None):
            return scaled(atoms, indices)

    with pytest.raises(AssertionError, match=r"missing: auto_threshold, begin, check, copy, .*value_and_gradient"):
        check_uncertainty(Half(), [alloy(50)])
