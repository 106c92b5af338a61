"""Documents of atomate2 become labels in our units and in the order of the atoms sent."""

import os
from copy import deepcopy

import bson
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from hypothesis import given, settings
from hypothesis import strategies as st
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, jsanitize
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from idealflow.errors import InputError, LabelError
from idealflow.labelling import Label, label_from_document
from idealflow.labelling.sites import Sites, order_of
from idealflow.testing import check_labeller

pytestmark = [
    pytest.mark.filterwarnings("ignore:cd is deprecated:FutureWarning"),
    pytest.mark.filterwarnings('ignore:Field name "schema":UserWarning'),
    pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning"),
    # atomate2's force-field makers set themselves what they then warn of
    pytest.mark.filterwarnings("ignore:`task_document_kwargs` is now deprecated:DeprecationWarning"),
]

SHEAR = np.array([[1.0, 0.02, 0.06], [0.0, 0.98, -0.03], [0.0, 0.0, 1.01]])
HARTREE_PER_BOHR, GPA = 51.42206747632590, 0.006241509074460762  # CODATA 2018, in eV/Å and eV/Å³


def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ SHEAR, scale_atoms=True)
    return atoms


def run_maker(maker, atoms, as_stored=False):
    from atomate2.ase.jobs import AseMaker

    structure = AseAtomsAdaptor.get_structure(atoms)
    maker = deepcopy(maker)  # as StaticLabeller does: a maker keeps its calculator, which may not be copied any more
    if not as_stored:
        return type(maker).make.original(maker, structure)
    assert isinstance(maker, AseMaker)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    job = maker.make(structure)
    run_locally(job, store=store, log=False, ensure_success=True)
    return store.query_one({"uuid": job.uuid}, load=True)["output"]


def ase_makers():
    from atomate2.ase.jobs import EmtRelaxMaker, LennardJonesStaticMaker
    from atomate2.forcefields.jobs import ForceFieldStaticMaker

    lj = {"sigma": 2.3, "epsilon": 0.15, "rc": 6.0, "smooth": True}
    return {
        "EMT": (EmtRelaxMaker(steps=0, relax_cell=False), EMT()),
        "Lennard-Jones": (LennardJonesStaticMaker(calculator_kwargs=lj), LennardJones(**lj)),
        # the path of any force field in atomate2, with a calculator that needs no download in the network's place
        "force field": (ForceFieldStaticMaker(calculator_meta="ase.calculators.emt.EMT"), EMT()),
    }


ASE_MAKERS = ["EMT", "Lennard-Jones", "force field"]


@pytest.mark.parametrize("name", ASE_MAKERS)
def test_ase_makers_are_proven_by_finite_differences(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    maker, _ = ase_makers()[name]
    done = check_labeller(
        lambda atoms: label_from_document(run_maker(maker, atoms), atoms),
        copper(),
        displacement=0.001,
        stress_tolerance=1e-4,
    )
    assert np.abs(done.force_errors).max() < 1e-4
    assert np.abs(done.stress_errors).max() < 1e-5
    assert done.order_error < 1e-8


def test_xtb_maker_is_proven_by_finite_differences(tmp_path, monkeypatch):
    if not os.environ.get("IDEALFLOW_REQUIRE_XTB"):
        pytest.importorskip("tblite", reason="pip install tblite; `make test-dft` does")
    from atomate2.ase.jobs import GFNxTBStaticMaker

    monkeypatch.chdir(tmp_path)
    salt = bulk("NaCl", "rocksalt", a=5.6) * (2, 1, 1)
    salt.rattle(0.12, seed=2)
    salt.set_cell(salt.cell.array @ SHEAR, scale_atoms=True)
    maker = GFNxTBStaticMaker(calculator_kwargs={"method": "GFN1-xTB", "accuracy": 0.001})

    def label(atoms):
        return label_from_document(run_maker(maker, atoms), atoms)

    check_labeller(label, salt, force_tolerance=1e-3, stress_tolerance=1e-4)
    stored = label_from_document(run_maker(maker, salt, as_stored=True), salt)
    assert stored.energy == pytest.approx(label(salt).energy, abs=1e-8)
    assert stored.stress == pytest.approx(label(salt).stress, abs=1e-8)


@pytest.mark.parametrize("name", ASE_MAKERS)
def test_object_and_stored_dictionary_give_the_calculators_own_label(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    maker, calculator = ase_makers()[name]
    atoms = copper()
    reference = atoms.copy()
    reference.calc = calculator
    for document in (run_maker(maker, atoms), run_maker(maker, atoms, as_stored=True)):
        label = label_from_document(document, atoms)
        assert label.energy == pytest.approx(reference.get_potential_energy(), abs=1e-10)
        assert label.forces == pytest.approx(reference.get_forces(), abs=1e-10)
        assert label.stress == pytest.approx(reference.get_stress(), abs=1e-9)
        assert label.seconds > 0


def test_molecule_has_no_stress(tmp_path, monkeypatch):
    from atomate2.ase.jobs import EmtRelaxMaker

    monkeypatch.chdir(tmp_path)
    atoms = molecule("H2O")
    maker = EmtRelaxMaker(steps=0, relax_cell=False)
    document = type(maker).make.original(maker, AseAtomsAdaptor.get_molecule(atoms))
    atoms.calc = EMT()
    label = label_from_document(document, atoms)
    assert label.stress is None
    assert label.forces == pytest.approx(atoms.get_forces(), abs=1e-10)


# -- documents of engines that are not here, made from EMT's numbers in the engine's units -------------------------------


def symmetric(stress):
    xx, yy, zz, yz, xz, xy = stress
    return [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]


def as_engine_writes(atoms, energy, forces, stress, force_unit, stress_unit):
    """Sites shuffled and wrapped, quantities in the engine's units."""
    order = np.random.default_rng(3).permutation(len(atoms))
    sites = atoms[order]
    sites.wrap()
    output = {
        "structure": AseAtomsAdaptor.get_structure(sites),
        "energy": energy,
        "forces": (forces[order] / force_unit).tolist(),
        "stress": (np.array(symmetric(stress)) / stress_unit).tolist(),
    }
    return output, sites


def vasp_document(output):
    from emmet.core.tasks import OutputDoc, TaskDoc
    from emmet.core.types.enums import TaskState
    from emmet.core.vasp.calculation import Calculation, CalculationOutput, IonicStep

    step = IonicStep(
        e_fr_energy=output["energy"], e_0_energy=output["energy"] + 0.01, e_wo_entrp=output["energy"] + 0.02
    )
    calculation = Calculation.model_construct(output=CalculationOutput.model_construct(ionic_steps=[step]))
    return TaskDoc.model_construct(
        output=OutputDoc(**(output | {"energy": output["energy"] + 0.01})),
        calcs_reversed=[calculation],
        state=TaskState.SUCCESS,
    )


def cp2k_document(output):
    from atomate2.cp2k.schemas.task import OutputSummary, Status, TaskDocument

    return TaskDocument.model_construct(output=OutputSummary(**output), state=Status.SUCCESS)


def abinit_document(output):
    # abipy is not needed to read what a store returns
    return {
        "@module": "atomate2.abinit.schemas.task",
        "@class": "AbinitTaskDoc",
        "state": "successful",
        "output": output | {"structure": output["structure"].as_dict()},
    }


ENGINES = {
    "VASP": (vasp_document, 1.0, -0.1 * GPA),
    "CP2K": (cp2k_document, HARTREE_PER_BOHR, -GPA),
    "ABINIT": (abinit_document, 1.0, GPA),
}


def document_of(name, atoms):
    make, force_unit, stress_unit = ENGINES[name]
    copy = atoms.copy()
    copy.calc = EMT()
    values = copy.get_potential_energy(), copy.get_forces(), copy.get_stress()
    return make(as_engine_writes(atoms, *values, force_unit, stress_unit)[0])


def plain(document):
    """What a job store returns: through MSON and BSON."""
    return bson.decode(bson.encode(jsanitize(document, strict=True, allow_bson=True)))


@pytest.mark.parametrize("stored", [False, True], ids=["object", "dictionary"])
@pytest.mark.parametrize("name", ENGINES)
def test_units_signs_and_order_of_other_engines(name, stored):
    def label(atoms):
        document = document_of(name, atoms)
        return label_from_document(plain(document) if stored else document, atoms)

    done = check_labeller(label, copper())
    assert np.abs(done.stress_errors).max() < 1e-5
    assert done.order_error < 1e-8
    assert label(copper()).method == name


def test_dictionary_without_its_class_is_known_by_its_fields():
    document = document_of("VASP", copper())
    bare = {"output": plain(document)["output"], "vasp_objects": None, "calcs_reversed": None}
    assert label_from_document(bare, copper()).forces == pytest.approx(label_from_document(document, copper()).forces)


def test_decoded_document_equals_its_dictionary():
    stored = plain(abinit_document(as_engine_writes(copper(), 1.0, np.eye(4, 3), np.arange(6.0), 1, 1)[0]))
    decoded = {**stored, "output": MontyDecoder().process_decoded(stored["output"])}
    assert isinstance(decoded["output"]["structure"], Structure)
    assert np.array_equal(label_from_document(stored, copper()).forces, label_from_document(decoded, copper()).forces)


@pytest.mark.parametrize(
    ("name", "state"), [("VASP", "failed"), ("CP2K", "unsuccessful"), ("ABINIT", "failed"), ("ABINIT", "unconverged")]
)
def test_failed_calculation_is_refused(name, state):
    document = plain(document_of(name, copper())) | {"state": state}
    with pytest.raises(LabelError, match=f"{name} did not finish or converge"):
        label_from_document(document)


def changed(path, value):
    document = plain(document_of("CP2K", copper()))
    inner = document
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("@class",), "MysteryDoc", r"documents of type atomate2\.cp2k\.schemas\.task\.MysteryDoc are not converted"),
        (("output", "energy"), None, "no energy"),
        (("output", "forces"), None, "no forces"),
        (("output", "forces"), [[0, 0, float("nan")]] * 4, "forces is not finite"),
        (("output", "forces"), [[0, 0, 0]] * 3, "4 sites and 3 forces"),
        (("output", "stress"), [0.0] * 6, r"\(3, 3\) matrix"),
        (("output", "stress"), [[0, 1, 0], [0, 0, 0], [0, 0, 0]], "symmetric"),
        (("output", "structure"), None, "no structure"),
        (("output", "structure", "sites", 0, "species"), [{"element": "Cu", "occu": 0.5}], "site 0 .* one element"),
        (("output", "structure", "sites", 0, "species"), [{"element": "Ag", "occu": 1}], "no site of its species"),
        (("output", "structure", "lattice", "matrix", 0, 0), 4.0, "cell differs"),
    ],
)
def test_what_cannot_be_converted_names_the_cause(path, value, message):
    with pytest.raises(LabelError, match=message):
        label_from_document(changed(path, value), copper())


def test_moved_or_missing_sites_are_refused():
    document = document_of("ABINIT", copper())
    atoms = copper()
    atoms.positions[2] += 0.002
    with pytest.raises(LabelError, match=r"atom 2 \(Cu\) has no site of its species within 0.001 Å"):
        label_from_document(document, atoms)
    with pytest.raises(LabelError, match="4 sites, the structure sent 3 atoms"):
        label_from_document(document, copper()[:3])
    with pytest.raises(LabelError, match=r"builtins\.int"):
        label_from_document(3)


def test_absent_stress_stays_absent():
    document = document_of("ABINIT", copper())
    document["output"]["stress"] = None
    assert label_from_document(document, copper()).stress is None
    cluster = copper()
    cluster.pbc = False  # sent in a box: the stress of a box of vacuum is not the cluster's
    assert label_from_document(document_of("ABINIT", copper()), cluster).stress is None


# -- the kit itself must find mistakes ---------------------------------------------------------------------------


def emt_label(atoms, forces=lambda f: f, stress=lambda s: s):
    copy = atoms.copy()
    copy.calc = EMT()
    return Label(copy.get_potential_energy(), forces(copy.get_forces()), stress(copy.get_stress()))


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"forces": lambda f: f / HARTREE_PER_BOHR}, "forces differ"),
        ({"forces": lambda f: -f}, "forces differ"),
        ({"forces": lambda f: f[::-1]}, "forces differ"),
        ({"stress": lambda s: -s}, "stress differs"),
        ({"stress": lambda s: s * 10}, "stress differs"),
        ({"stress": lambda s: s[[0, 1, 2, 5, 4, 3]]}, "stress differs"),
        ({"stress": lambda s: s[[0, 1, 2, 4, 3, 5]]}, "stress differs"),
        ({"stress": lambda s: s * [1, 1, 1, 2, 2, 2]}, "stress differs"),
    ],
)
def test_kit_finds_wrong_units_signs_and_orders(mistake, message):
    check_labeller(emt_label, copper())
    with pytest.raises(AssertionError, match=message):
        check_labeller(lambda atoms: emt_label(atoms, **mistake), copper())


def test_kit_finds_a_labeller_that_sorts_or_changes_atoms():
    alloy = copper()
    alloy.symbols[:2] = "Au"

    def sorts(atoms):
        order = np.argsort(atoms.numbers, kind="stable")
        return emt_label(atoms[order])

    def changes(atoms):
        atoms.wrap()
        atoms.positions += 1
        return emt_label(atoms)

    with pytest.raises(AssertionError, match="forces differ"):
        check_labeller(sorts, alloy)
    with pytest.raises(AssertionError, match="changed the atoms"):
        check_labeller(changes, alloy)


def test_kit_refuses_structures_that_prove_nothing():
    with pytest.raises(InputError, match="rattle it"):
        check_labeller(emt_label, bulk("Cu", cubic=True))
    square = bulk("Cu", cubic=True)
    square.positions[0, 0] += 0.3
    with pytest.raises(InputError, match="shear the cell"):
        check_labeller(emt_label, square)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), periodic=st.booleans())
def test_sites_are_found_as_by_looking_at_all_pairs(seed, periodic):
    """The dense search that the tree replaced is the oracle: skewed cells, wrapped and reordered sites, two species."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 25))
    cell = np.eye(3) * 8 + rng.uniform(-4, 4, (3, 3)) if periodic else np.zeros((3, 3))
    if periodic and abs(np.linalg.det(cell)) < 50:
        cell = np.eye(3) * 8
    atoms = Atoms(rng.choice([3, 29], n), rng.uniform(-20, 20, (n, 3)), cell=cell, pbc=periodic)
    sent = rng.permutation(n)
    moved = atoms.positions[sent] + rng.uniform(-4e-4, 4e-4, (n, 3))
    if periodic:
        moved += rng.integers(-2, 3, (n, 3)) @ cell
    sites = Sites(atoms.numbers[sent].astype(np.int64), moved, cell if periodic else None)
    assert np.array_equal(sent[order_of(sites, atoms)], np.arange(n))
    sites.positions[0] += [0.0, 0.0, 0.01]
    with pytest.raises(LabelError, match=r"has no site of its species within 0.001 Å in the document \(nearest 0.0"):
        order_of(sites, atoms)


def test_sites_of_a_large_frame_take_little_memory():
    """10 976 atoms took 11.6 GB as a matrix of all pairs."""
    import tracemalloc

    atoms = bulk("Cu", cubic=True) * 14
    atoms.rattle(0.1, seed=1)
    order = np.random.default_rng(0).permutation(len(atoms))
    sites = Sites(atoms.numbers[order].astype(np.int64), atoms.positions[order], atoms.cell.array)
    tracemalloc.start()
    assert np.array_equal(order[order_of(sites, atoms)], np.arange(len(atoms)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
