"""Models that mace-torch stored, as start of a campaign: run by `make test-mace` in an environment of its own."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import load_force_field, pretrained_force_field
from idealflow.forcefields.mace import from_mace
from idealflow.workflow.campaign.checks import check_campaign
from idealflow.workflow.learner.version import load_force_field_artifact
from support import tiny

pytestmark = pytest.mark.mace
RESIDUAL, PLAIN = "RealAgnosticResidualInteractionBlock", "RealAgnosticInteractionBlock"
MODELS = {
    "one of --model MACE": {"interaction_cls_first": PLAIN, "atomic_inter_shift": [0.0], "atomic_inter_scale": [20.0]},
    "ScaleShiftMACE of three layers": {"num_interactions": 3, "correlation": 3, "use_reduced_cg": False},
    "transformed distances": {"distance_transform": "Agnesi", "num_polynomial_cutoff": 5, "hidden_irreps": "6x0e"},
    "single precision": {"dtype": torch.float32},
}


def stored_model(path, symbols=("Na", "Cl"), dtype=torch.float64, **changed):
    """A random model as mace_run_train stores one."""
    from ase.data import atomic_numbers
    from mace import modules  # not there when the other tests are collected

    from e3nn import o3  # isort: skip  # mace lets it be imported

    given = {
        "r_max": 4.0, "num_bessel": 6, "num_polynomial_cutoff": 6, "max_ell": 2, "num_interactions": 2,
        "num_elements": len(symbols), "hidden_irreps": "4x0e+4x1o", "MLP_irreps": "8x0e", "correlation": 2,
        "atomic_energies": -1.5 * np.arange(1.0, len(symbols) + 1), "avg_num_neighbors": 17.3, "radial_MLP": [8, 8],
        "atomic_numbers": [atomic_numbers[symbol] for symbol in symbols], "gate": torch.nn.functional.silu,
        "interaction_cls": RESIDUAL, "interaction_cls_first": RESIDUAL, "atomic_inter_scale": 20.0, "atomic_inter_shift": 0.1,
        **changed,
    }  # fmt: skip
    for name in ("interaction_cls", "interaction_cls_first"):
        given[name] = modules.interaction_classes[given[name]]
    for name in ("hidden_irreps", "MLP_irreps"):
        given[name] = o3.Irreps(given[name])
    before = torch.get_default_dtype()
    torch.manual_seed(1)
    torch.set_default_dtype(dtype)
    try:
        model = modules.ScaleShiftMACE(**given)
    finally:
        torch.set_default_dtype(before)
    torch.save(model, path)
    return path


def salt():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.12, -0.04], [0, 1, 0.07], [0, 0, 0.98]]), scale_atoms=True)
    return atoms


def theirs(path, atoms, dtype):
    from mace.calculators import MACECalculator

    before = torch.get_default_dtype()
    frame = atoms.copy()
    try:
        frame.calc = MACECalculator(model_paths=str(path), device="cpu", default_dtype=dtype)
        return frame.get_potential_energy(), frame.get_forces(), frame.get_stress()
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("changed", MODELS.values(), ids=MODELS)
def test_energy_forces_and_stress_are_those_of_the_files_own_calculator(tmp_path, changed):
    path = stored_model(tmp_path / "x.model", **changed)
    ours = salt()
    ours.calc = pretrained_force_field(path, {"precision": "double"}).calculator()
    energy, forces, stress = theirs(path, salt(), "float64")
    assert abs(ours.get_potential_energy() - energy) / len(ours) < 1e-6
    assert np.abs(forces).max() > 0.1
    np.testing.assert_allclose(ours.get_forces(), forces, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours.get_stress(), stress, rtol=0, atol=1e-6)


def test_what_is_read_is_saved_and_read_again(tmp_path):
    path = stored_model(tmp_path / "x.model", **MODELS["one of --model MACE"])
    read = pretrained_force_field(path, {"freeze": ["interactions.*"], "fit_steps": 7})
    read.start_here()
    again = load_force_field(read.save(tmp_path / "x.ff"))
    assert again.settings == read.settings
    assert (again.settings["residual"], again.settings["cutoff_power"], again.settings["fit_steps"]) == (False, 6, 7)
    one, other = salt(), salt()
    one.calc, other.calc = read.calculator(), again.calculator()
    assert np.array_equal(one.get_forces(), other.get_forces())


def test_a_campaign_begins_from_it(tmp_path):
    path = stored_model(tmp_path / "cu.model", symbols=("Cu",), r_max=3.5)
    bootstrap = {"pretrained": str(path), "force_field_settings": {}, "anchor": 2, "fit_steps": 3}
    folder = tmp_path / "run"
    _, campaign = tiny.run(folder, max_rounds=1, bootstrap=bootstrap, evaluation={"n_frames": 0})
    first = campaign.bootstrap()
    assert first.pretrained == str(path)
    from idealflow.storage import ArtifactStore

    learned = load_force_field_artifact(ArtifactStore(str(folder / "artifacts")), first.learner)
    assert (learned.name, learned.settings["cutoff"]) == ("mace", 3.5)
    assert first.force_shift == learned.force_shift()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pair_repulsion": True}, r"with a repulsion of pairs \(ZBL\)"),
        (
            {"heads": ["one", "other"], "atomic_energies": -np.ones((2, 2)), "atomic_inter_scale": [0.3, 0.3],
             "atomic_inter_shift": [0.0, 0.0]},
            "with the heads one, other",
        ),
        ({"interaction_cls": "RealAgnosticDensityResidualInteractionBlock"}, "RealAgnosticDensityResidual"),
        ({"gate": torch.tanh}, "a NonLinearReadoutBlock of silu is read here"),
        ({"radial_type": "gaussian"}, "radial functions GaussianBasis"),
        ({"hidden_irreps": "4x0e+2x1o"}, r"with the states 4x0e\+2x1o"),
    ],
)  # fmt: skip
def test_other_kinds_of_mace_are_refused_by_name(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        from_mace(stored_model(tmp_path / "x.model", **changed))


def test_foreign_and_truncated_files_are_refused_before_any_label(tmp_path):
    path = stored_model(tmp_path / "cu.model", symbols=("Cu",))
    whole = path.read_bytes()
    torch.save(torch.nn.Linear(2, 1), tmp_path / "linear.model")
    torch.save({"model": {}}, tmp_path / "checkpoint.pt")
    torch.jit.script(torch.nn.Linear(2, 1)).save(tmp_path / "compiled.model")
    (tmp_path / "cut.model").write_bytes(whole[:-400])
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    (tmp_path / "damaged.model").write_bytes(damaged)
    for name, message in (
        ("linear.model", "holds a Linear; of models that torch saved whole, only a ScaleShiftMACE"),
        ("checkpoint.pt", "holds no weights that can be read"),
        ("compiled.model", r"compiled code \(TorchScript\)"),
        ("cut.model", r"holds no weights that can be read: .*(is cut short|is damaged)"),
        ("damaged.model", "damaged"),
    ):
        with pytest.raises((InputError, ArtifactError), match=message):
            pretrained_force_field(tmp_path / name, {})
        bootstrap = {"pretrained": str(tmp_path / name), "force_field_settings": {}}
        with pytest.raises(InputError, match=message):
            check_campaign(tiny.maker(tmp_path, bootstrap=bootstrap), tiny.frame())


def test_lonely_atoms_have_the_energies_that_the_file_has(tmp_path):
    path = stored_model(tmp_path / "x.model")
    far = Atoms("NaCl", [[0, 0, 0], [0, 0, 20.0]], calculator=pretrained_force_field(path, {}).calculator())
    assert np.abs(far.get_forces()).max() == 0.0
