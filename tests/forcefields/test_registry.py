import sys
from types import ModuleType

import pytest

from idealflow.errors import ArtifactError, InputError, MissingExtraError
from idealflow.forcefields import available, get_force_field, load_force_field, register_force_field
from idealflow.forcefields.local import LocalForceField
from idealflow.forcefields.registry import FORCE_FIELDS


class Plugged(LocalForceField):
    name = "plugged"


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(InputError, match=r"'m4gnet' \(did you mean 'm3gnet'\?\); available: .*local"):
        get_force_field("m4gnet")


def test_an_unknown_setting_is_named():
    known = r"'cut_off' \(did you mean 'cutoff'\?\); its settings are cutoff, .*fit_learning_rate"
    with pytest.raises(InputError, match=known) as raised:
        get_force_field("local", species=["Cu"], cut_off=5.0)
    assert "__init__" not in str(raised.value)
    assert "species" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"species": []}, "species"),
        ({"species": ["Xx"]}, "species"),
        ({"species": ["Cu"], "cutoff": -1.0}, "cutoff"),
        ({"species": ["Cu"], "n_radial": 0}, "n_radial"),
        ({"species": ["Cu"], "hidden": []}, "hidden"),
    ],
)
def test_impossible_settings_are_refused(settings, named):
    with pytest.raises(InputError, match=named):
        get_force_field("local", **settings)


def test_a_missing_extra_names_the_pip_command(monkeypatch):
    monkeypatch.setitem(FORCE_FIELDS.built_in, "heavy", ("idealflow_needs_this:Heavy", "heavy"))
    with pytest.raises(MissingExtraError, match=r"pip install 'idealflow\[heavy\]'"):
        get_force_field("heavy", species=["Cu"])
    assert "heavy" in available()


def test_architectures_are_imported_only_when_asked_for(monkeypatch):
    module = ModuleType("idealflow_lazy")
    module.Lazy = Plugged
    monkeypatch.setitem(FORCE_FIELDS.built_in, "lazy", ("idealflow_lazy:Lazy", "lazy"))
    assert "lazy" in available()
    monkeypatch.setitem(sys.modules, "idealflow_lazy", module)
    assert get_force_field("lazy", species=["Cu"]).name == "plugged"


def test_third_parties_register_a_class_and_load_its_files(monkeypatch, tmp_path, trained):
    monkeypatch.setitem(FORCE_FIELDS.registered, "plugged", None)  # put back afterwards
    register_force_field("plugged", Plugged)
    made = get_force_field("plugged", species=["Cu"])
    assert isinstance(load_force_field(made.save(tmp_path / "a")), Plugged)
    assert type(load_force_field(trained.save(tmp_path / "b"))) is LocalForceField


def test_entry_points_are_found(monkeypatch):
    class Entry:
        name = "plugged"

        def load(self):
            return Plugged

    monkeypatch.setattr("idealflow.plugins.entry_points", lambda group: [Entry()] * (group == "idealflow.forcefields"))
    assert "plugged" in available()
    assert isinstance(get_force_field("plugged", species=["Cu"]), Plugged)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 something else", b'{"a": 1}\n', b"[1]\n"])
def test_a_foreign_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.pt"):
        load_force_field(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ArtifactError, match=r"model\.pt does not exist"):
        load_force_field(tmp_path / "model.pt")
