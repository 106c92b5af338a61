"""Labels from a worker: exact, quick, and stopped when they hang, crash or lie."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from idealflow.errors import InputError, LabelError, MissingExtraError
from idealflow.labelling import AseLabeller, ase_worker, close_workers
from idealflow.workflow.labellers import labeller_from_settings
from support import environment_with_support

EMT_PATH = "ase.calculators.emt.EMT"
PATIENCE_S = 300  # with a machine that does much else; what is waited for comes at once or never


@pytest.fixture(scope="module", autouse=True)
def _no_worker_outlives_the_tests():
    yield
    close_workers()


@pytest.fixture
def atoms():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.02, 0.03], [0, 1, 0.01], [0, 0, 1]]), scale_atoms=True)
    return atoms


def moved(atoms):
    other = atoms.copy()
    other.positions[0, 0] += 1.0
    return other


def odd(do, limit=30.0, **options):
    return AseLabeller("support.odd_calculators.Odd", {"do": do, **options}, time_limit_s=limit, reference="odd")


def test_label_equals_the_calculator_to_the_bit(atoms):
    label = AseLabeller(EMT_PATH, reference="EMT (stands in for DFT)").compute(atoms)
    atoms.calc = EMT()
    assert label.energy == atoms.get_potential_energy()
    assert np.array_equal(label.forces, atoms.get_forces())
    assert np.array_equal(label.stress, atoms.get_stress())
    assert label.method == "EMT (stands in for DFT)"
    assert label.seconds > 0


def test_constraints_do_not_touch_forces(atoms):
    from ase.constraints import FixAtoms

    free = AseLabeller(EMT_PATH).compute(atoms).forces
    atoms.set_constraint(FixAtoms([0, 1]))
    assert np.array_equal(AseLabeller(EMT_PATH).compute(atoms).forces, free)


def test_a_label_costs_one_message_and_no_new_process(atoms, monkeypatch):
    """What keeps the overhead small, whatever the machine does besides (its milliseconds: workflows/benchmarks)."""
    engine = AseLabeller(EMT_PATH)
    engine.compute(atoms)
    started, sent = [], []
    start, ask = subprocess.Popen, ase_worker.Worker.ask
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: started.append(args) or start(*args, **kwargs))
    monkeypatch.setattr(
        ase_worker.Worker, "ask", lambda self, message, limit: sent.append(message) or ask(self, message, limit)
    )
    for i in range(5):
        engine.compute(atoms * (1, 1, i + 1))
    assert started == []
    assert [len(message["numbers"]) for message in sent] == [4, 8, 12, 16, 20]


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ("raises", "odd: RuntimeError: SCF did not converge in 60 cycles"),
        ("nan", "odd: forces is not finite: 1 of 12"),
        ("segfaults", "odd: its process was killed by SIGSEGV after printing: about to read address zero"),
        ("exits", "odd: SystemExit: no licence"),
        ("drops", "odd: returned 3 forces for 4 atoms"),
    ],
)
def test_failures_have_their_cause_and_the_next_label_works(atoms, do, message):
    engine = odd(do)
    good = engine.compute(atoms)
    with pytest.raises(LabelError, match=message):
        engine.compute(moved(atoms))
    assert engine.compute(atoms).energy == good.energy


@pytest.fixture
def sign(tmp_path):
    """A named pipe that the worker's processes hold open for as long as one of them lives."""
    os.mkfifo(tmp_path / "sign")
    return str(tmp_path / "sign")


def test_hanging_label_is_killed_with_all_it_started(atoms, sign):
    odd("hangs", limit=None, sign=sign).compute(atoms)  # the worker is up, and no limit on that
    engine = odd("hangs", limit=1.0, sign=sign)
    pipe = os.open(sign, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(LabelError, match=r"odd: exceeded its time limit of 1 s"):
        engine.compute(moved(atoms))
    assert none_lives(sign, pipe)
    os.close(pipe)
    assert odd("hangs", limit=None, sign=sign).compute(atoms).n_atoms == 4


def test_a_label_is_waited_for_as_long_as_its_limit_says(atoms, monkeypatch):
    engine, waits, wait = odd("raises", limit=30.0), [], select.select
    monkeypatch.setattr(ase_worker, "time", SimpleNamespace(monotonic=lambda: 7.0, perf_counter=time.perf_counter))
    monkeypatch.setattr(select, "select", lambda *args: waits.append(args[3]) or wait(*args))
    engine.compute(atoms)
    waits.clear()
    engine.compute(atoms)
    assert set(waits) == {30.0}
    now = iter(range(1000))  # a second passes at every look
    monkeypatch.setattr(ase_worker, "time", SimpleNamespace(monotonic=lambda: next(now), perf_counter=lambda: 0.0))
    waits.clear()
    engine.compute(atoms)
    assert waits == [30.0 - passed for passed in range(1, 1 + len(waits))]


def has_begun(pipe):
    """Wait for the byte of a calculator that does as it is told."""
    return select.select([pipe], [], [], PATIENCE_S)[0] == [pipe] and os.read(pipe, 1) == b"."


def none_lives(sign, pipe):
    """Wait for the end of a pipe that killed processes held: the kernel closes it when it gets to the last of them."""
    os.close(os.open(sign, os.O_WRONLY))  # the end comes after a beginning only
    while select.select([pipe], [], [], PATIENCE_S)[0]:
        if os.read(pipe, 1) == b"":
            return True
    return False


PARENT = """
import sys
from ase.build import bulk
from idealflow.labelling import AseLabeller
atoms = bulk("Cu", cubic=True)
atoms.positions[0, 0] += 1
AseLabeller("support.odd_calculators.Odd", {"do": sys.argv[1], "sign": sys.argv[2]}).compute(atoms)
"""


@pytest.mark.parametrize("do", ["hangs", "prints"])
def test_worker_dies_with_its_parent(do, sign):
    pipe = os.open(sign, os.O_RDONLY | os.O_NONBLOCK)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, do, sign], env=environment_with_support())
    assert has_begun(pipe)
    if do == "hangs":
        assert select.select([pipe], [], [], 0)[0] == []  # and lives
        parent.send_signal(signal.SIGKILL)
    assert parent.wait() == (-signal.SIGKILL if do == "hangs" else 0)
    assert none_lives(sign, pipe)
    os.close(pipe)


def test_prints_and_files_do_no_harm(atoms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert odd("prints").compute(moved(atoms)).n_atoms == 4
    assert odd("writes").compute(moved(atoms)).n_atoms == 4
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_one_thread_unless_told(atoms):
    assert odd("threads").compute(moved(atoms)).energy == 1
    two = AseLabeller("support.odd_calculators.Odd", {"do": "threads"}, threads=2)
    assert two.compute(moved(atoms)).energy == 2


def test_stress_is_absent_where_there_is_none(atoms):
    assert AseLabeller("support.odd_calculators.NoStress").compute(atoms).stress is None
    assert AseLabeller(EMT_PATH).compute(molecule("H2O")).stress is None


def test_energy_is_the_one_forces_derive_from(atoms):
    assert AseLabeller("support.odd_calculators.NoStress").compute(atoms).energy == 1.0
    assert AseLabeller("support.odd_calculators.Smeared").compute(atoms).energy == 0.5


def test_threads_of_the_caller_share_a_worker(atoms):
    engine, labels = AseLabeller(EMT_PATH), {}

    def one(i):
        labels[i] = engine.compute(atoms * (1, 1, i + 1))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [labels[i].n_atoms for i in range(4)] == [4, 8, 12, 16]


def test_forked_child_starts_its_own_worker(atoms):
    engine = AseLabeller(EMT_PATH)
    energy = engine.compute(atoms).energy
    child = os.fork()
    if child == 0:
        same = engine.compute(atoms).energy == energy
        close_workers()
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert engine.compute(atoms).energy == energy


def test_wrong_settings_are_refused(atoms):
    with pytest.raises(LabelError, match="No module named 'absent'"):
        AseLabeller("absent.Calculator").compute(atoms)
    with pytest.raises(LabelError, match="missing 1 required positional argument: 'do'"):
        AseLabeller("support.odd_calculators.Odd").compute(atoms)
    with pytest.raises(InputError, match="import path"):
        AseLabeller("EMT")
    with pytest.raises(InputError, match="plain values"):
        AseLabeller(EMT_PATH, {"a": object()})
    with pytest.raises(InputError, match="text keys"):
        AseLabeller(EMT_PATH, {"a": {1: 2}})
    with pytest.raises(InputError, match="positive"):
        AseLabeller(EMT_PATH, time_limit_s=0)
    atoms.positions[0] = np.nan
    with pytest.raises(LabelError, match="not finite"):
        AseLabeller(EMT_PATH).compute(atoms)


@pytest.mark.parametrize(("kind", "made"), [("Kept", 1), ("Odd", 3)])
def test_a_calculator_that_says_it_is_pure_is_kept_from_label_to_label(atoms, tmp_path, kind, made):
    """One that does not say so is made anew; a label that fails ends a kept one."""
    count = tmp_path / "made"
    labeller = AseLabeller(f"support.odd_calculators.{kind}", {"do": "raises", "count": str(count)})
    labels = [labeller.compute(frame) for frame in (atoms, atoms * (1, 1, 2), atoms)]
    assert len(count.read_text()) == made
    fresh = AseLabeller(EMT_PATH).compute(atoms)
    for label in (labels[0], labels[2]):
        assert label.energy == fresh.energy
        assert np.array_equal(label.forces, fresh.forces)
        assert np.array_equal(label.stress, fresh.stress)
    with pytest.raises(LabelError, match="did not converge"):
        labeller.compute(moved(atoms))
    labeller.compute(atoms)
    assert len(count.read_text()) == made + (1 if kind == "Kept" else 2)


def test_labels_of_universal_force_fields_are_named_as_stand_ins():
    labeller = AseLabeller("sevennet")
    assert labeller.method == "SevenNet 7net-0 (stands in for DFT)"
    assert labeller.science() == {"calculator": "sevennet", "kwargs": {"model": "7net-0"}}
    assert AseLabeller("chgnet", {"model": "r2scan"}).method == "CHGNet r2scan (stands in for DFT)"
    with pytest.raises(InputError, match=r"or one of sevennet, chgnet, got 'sevenet' \(did you mean 'sevennet'\?\)"):
        AseLabeller("sevenet")


@pytest.mark.parametrize(("name", "package"), [("sevennet", "sevenn"), ("chgnet", "chgnet")])
def test_a_missing_package_is_refused_with_the_command_that_installs_it(name, package):
    if find_spec(package) is not None:
        pytest.skip("the package is there")
    with pytest.raises(InputError, match=rf"pip install 'idealflow\[{name}\]'"):
        labeller_from_settings({"calculator": name})
    with pytest.raises(MissingExtraError, match=rf"pip install 'idealflow\[{name}\]'"):
        AseLabeller(name).check_site(["Cu"])
