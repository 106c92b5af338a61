"""Labels from a worker: exact, quick, and stopped when they hang, crash or lie."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from idealflow.errors import InputError, LabelError
from idealflow.labelling import AseEngine, close_workers
from idealflow.labelling.ase_worker import _WORKERS

EMT_PATH = "ase.calculators.emt.EMT"

CALCULATORS = '''
import ctypes, os, sys, time
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

class Odd(EMT):
    """Does what it is told when the first atom stands where a test puts it."""
    def __init__(self, do, **kwargs):
        super().__init__(**kwargs)
        self.do = do
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.atoms.positions[0, 0] > 0.5:
            getattr(self, self.do)()
    def raises(self):
        raise RuntimeError("SCF did not converge in 60 cycles")
    def nan(self):
        self.results["forces"][1, 2] = np.nan
    def hangs(self):
        os.system("sleep 300")
    def segfaults(self):
        print("about to read address zero", flush=True)
        ctypes.string_at(0)
    def exits(self):
        sys.exit("no licence")
    def prints(self):
        print("x" * 100_000)
        os.write(1, b"y" * 100_000)
    def drops(self):
        self.results["forces"] = self.results["forces"][:-1]
    def writes(self):
        open("scratch.txt", "w").write("here")
    def threads(self):
        self.results["energy"] = self.results["free_energy"] = float(os.environ["OMP_NUM_THREADS"])

class NoStress(Calculator):
    implemented_properties = ["energy", "forces"]
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 1.0, "forces": np.zeros((len(atoms), 3))}

class Smeared(NoStress):
    implemented_properties = ["energy", "forces", "free_energy"]
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["free_energy"] = 0.5
'''


@pytest.fixture(scope="module", autouse=True)
def calculators(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calculators")
    (folder / "odd_calculators.py").write_text(CALCULATORS)
    sys.path.insert(0, str(folder))
    yield
    close_workers()
    sys.path.remove(str(folder))


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
    return AseEngine("odd_calculators.Odd", {"do": do, **options}, time_limit_s=limit, name="odd")


def test_label_equals_the_calculator_to_the_bit(atoms):
    label = AseEngine(EMT_PATH, name="EMT (stands in for DFT)").label(atoms)
    atoms.calc = EMT()
    assert label.energy == atoms.get_potential_energy()
    assert np.array_equal(label.forces, atoms.get_forces())
    assert np.array_equal(label.stress, atoms.get_stress())
    assert label.method == "EMT (stands in for DFT)"
    assert label.seconds > 0


def test_constraints_do_not_touch_forces(atoms):
    from ase.constraints import FixAtoms

    free = AseEngine(EMT_PATH).label(atoms).forces
    atoms.set_constraint(FixAtoms([0, 1]))
    assert np.array_equal(AseEngine(EMT_PATH).label(atoms).forces, free)


def test_overhead_of_a_label_is_below_20_ms(atoms):
    engine = AseEngine(EMT_PATH)
    engine.label(atoms)

    def fastest(call):
        times = []
        for _ in range(50):  # the fastest of many: other programs take their share of the machine
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return min(times)

    def direct():
        copy = atoms.copy()
        copy.calc = EMT()
        copy.get_stress()

    assert fastest(lambda: engine.label(atoms)) - fastest(direct) < 0.020


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
    good = engine.label(atoms)
    with pytest.raises(LabelError, match=message):
        engine.label(moved(atoms))
    assert engine.label(atoms).energy == good.energy


def test_hanging_label_is_killed_with_all_it_started(atoms):
    engine = odd("hangs", limit=1.0)
    engine.label(atoms)
    (worker,) = (w for key, w in _WORKERS.items() if '"hangs"' in key)
    group = worker._process.pid
    start = time.monotonic()
    with pytest.raises(LabelError, match=r"odd: exceeded its time limit of 1 s"):
        engine.label(moved(atoms))
    assert 0.9 < time.monotonic() - start < 5
    assert gone(group)
    assert engine.label(atoms).n_atoms == 4


def alive(group):
    """Whether any process of a group still runs (zombies do not)."""
    found = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    return any(int(line.split()[0]) == group and line.split()[1][0] != "Z" for line in found.splitlines())


def gone(group):
    """Whether a killed group ends within seconds: the kernel ends its processes when it gets to them."""
    deadline = time.monotonic() + 5
    while alive(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(group)


PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from ase.build import bulk
from idealflow.labelling import AseEngine
from idealflow.labelling.ase_worker import _WORKERS
atoms = bulk("Cu", cubic=True)
engine = AseEngine("odd_calculators.Odd", {"do": sys.argv[2]})
engine.label(atoms)
print(next(iter(_WORKERS.values()))._process.pid, flush=True)
atoms.positions[0, 0] += 1
engine.label(atoms)
"""


@pytest.mark.parametrize("do", ["hangs", "prints"])
def test_worker_dies_with_its_parent(do):
    folder = next(p for p in sys.path if os.path.exists(os.path.join(p, "odd_calculators.py")))  # noqa: PTH110, PTH118
    parent = subprocess.Popen([sys.executable, "-c", PARENT, folder, do], stdout=subprocess.PIPE, text=True)
    group = int(parent.stdout.readline())
    if do == "hangs":
        time.sleep(0.3)
        assert alive(group)
        parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(group)


def test_prints_and_files_do_no_harm(atoms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert odd("prints").label(moved(atoms)).n_atoms == 4
    assert odd("writes").label(moved(atoms)).n_atoms == 4
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_one_thread_unless_told(atoms):
    assert odd("threads").label(moved(atoms)).energy == 1
    two = AseEngine("odd_calculators.Odd", {"do": "threads"}, threads=2)
    assert two.label(moved(atoms)).energy == 2


def test_stress_is_absent_where_there_is_none(atoms):
    assert AseEngine("odd_calculators.NoStress").label(atoms).stress is None
    assert AseEngine(EMT_PATH).label(molecule("H2O")).stress is None


def test_energy_is_the_one_forces_derive_from(atoms):
    assert AseEngine("odd_calculators.NoStress").label(atoms).energy == 1.0
    assert AseEngine("odd_calculators.Smeared").label(atoms).energy == 0.5


def test_threads_of_the_caller_share_a_worker(atoms):
    engine, labels = AseEngine(EMT_PATH), {}

    def one(i):
        labels[i] = engine.label(atoms * (1, 1, i + 1))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [labels[i].n_atoms for i in range(4)] == [4, 8, 12, 16]


def test_forked_child_starts_its_own_worker(atoms):
    engine = AseEngine(EMT_PATH)
    energy = engine.label(atoms).energy
    child = os.fork()
    if child == 0:
        same = engine.label(atoms).energy == energy
        close_workers()
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert engine.label(atoms).energy == energy


def test_wrong_settings_are_refused(atoms):
    with pytest.raises(LabelError, match="No module named 'absent'"):
        AseEngine("absent.Calculator").label(atoms)
    with pytest.raises(LabelError, match="missing 1 required positional argument: 'do'"):
        AseEngine("odd_calculators.Odd").label(atoms)
    with pytest.raises(InputError, match="import path"):
        AseEngine("EMT")
    with pytest.raises(InputError, match="plain values"):
        AseEngine(EMT_PATH, {"a": object()})
    with pytest.raises(InputError, match="text keys"):
        AseEngine(EMT_PATH, {"a": {1: 2}})
    with pytest.raises(InputError, match="positive"):
        AseEngine(EMT_PATH, time_limit_s=0)
    atoms.positions[0] = np.nan
    with pytest.raises(LabelError, match="not finite"):
        AseEngine(EMT_PATH).label(atoms)
