"""How much a campaign's way of learning keeps of its labels: against a fit from scratch, and by how earlier ones are replayed.

    python workflows/benchmarks/learning.py si cu ni3al ir-gas [--out workflows/benchmarks/results/learning.json]

Labels come in the order in which a campaign meets them: 40 rattled crystals, then 80 cells along a run that heats a crystal with
vacancies until it is a liquid, two in a round. They are learned by the campaign's own parts (attempts, guard, ledger,
consolidation) in various ways, and judged on frames of other runs: crystal at 300 K, heating, liquid. References are Stillinger
and Weber's potential (Si) and ASE's EMT (Cu, Ni3Al), standing in for first principles. `ir-gas` is a particle of iridium in gas,
labelled by SevenNet-0 (run it with `.venv-sevennet/bin/python`); its runs are shorter. One thread; times are of the processor.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from idealflow.forcefields import ForceField, get_force_field
from idealflow.forcefields.local import LocalForceField
from idealflow.structures import gas_around, particle
from idealflow.workflow.learner.guard import Guard, judged
from idealflow.workflow.learner.ledger import Ledger
from idealflow.workflow.learner.trial import Effort, Known, attempts
from idealflow.workflow.stages.consolidate import GENTLER, LAST
from workbench.stillinger_weber import StillingerWeber
from workbench.threads import one_thread

N_FIRST, N_RUN, A_ROUND, HELD_OUT, N_VALIDATION, RATE = 40, 80, 2, 4, 8, 3e-4


@dataclass(frozen=True)
class System:
    """A crystal, its reference, and how it is heated: from 300 K to ``hottest``, K, in steps of ``timestep`` fs.

    ``missing`` atoms are taken out of it, and runs are ``shorter`` by that factor.
    """

    crystal: Callable[[], Atoms]
    reference: Callable[[], Calculator]
    hottest: float
    timestep: float
    missing: tuple[int, ...] = (5, 17)
    shorter: int = 1


def _ni3al() -> Atoms:
    cell = bulk("Ni", a=3.60, cubic=True)
    cell.symbols[0] = "Al"
    return cell.repeat(2)


def _particle_in_gas() -> Atoms:
    made = particle("Ir", shape="octahedron", length=4, cut=1, vacuum=5.0)
    filled = gas_around(made, {"N2": 6, "H2": 10}, adsorbed={"N": 4}, seed=1)
    filled.pbc = True  # the gas stays
    return filled


def _sevennet() -> Calculator:
    return get_force_field("sevennet", species=["H", "N", "Ir"]).calculator()


SYSTEMS = {
    "si": System(lambda: bulk("Si", a=5.431, cubic=True).repeat(2), StillingerWeber, 3500.0, 1.0),
    "cu": System(lambda: bulk("Cu", a=3.62, cubic=True).repeat(2), EMT, 2500.0, 2.0),
    "ni3al": System(_ni3al, EMT, 3000.0, 2.0),
    "ir-gas": System(_particle_in_gas, _sevennet, 2500.0, 0.5, missing=(), shorter=5),
}


@dataclass(frozen=True)
class Way:
    """A way to learn; the defaults are a campaign's.

    Consolidations begin with the present or the last consolidated weights. Mean energy errors below the ``floor``, eV/atom, count
    as that where a guard judges their growth.
    """

    n_steps: int = 20
    max_steps: int = 60
    n_replay: int = 32
    replay: str = "errors"
    every: int = 10
    steps: int = 2000
    last: int = LAST
    rate: float = LocalForceField.consolidation_rate
    polish: int = 0
    begins: str = "consolidated"
    floor: float = Guard.energy_floor


#: the default before: half the steps of a consolidation, from the present weights, and less to refuse
BEFORE: dict[str, Any] = {"begins": "present", "steps": 1000, "last": 4, "floor": 2e-3}

WAYS = {
    "default": Way(),
    "from present weights": Way(begins="present"),
    "half the steps": Way(**BEFORE | {"begins": "consolidated"}),
    "half the steps, from present weights": Way(**BEFORE),
    "uniform replay": Way(**BEFORE, replay="uniform"),
    "new labels only": Way(**BEFORE, n_replay=0),
    "everything replayed": Way(**BEFORE, n_replay=N_FIRST + N_RUN),
    "half the replay": Way(**BEFORE, n_replay=16),
    "half the replay, uniform": Way(**BEFORE, n_replay=16, replay="uniform"),
    "no consolidation": Way(**BEFORE, every=0),
    "only the last consolidation": Way(**BEFORE, every=N_RUN),
    "guard without a floor": Way(**BEFORE | {"floor": 0.0}),
    "half the rate": Way(**BEFORE, rate=4e-3),
    "shorter end": Way(**BEFORE | {"last": 2}),
    "half the rate, shorter end": Way(**BEFORE | {"last": 2}, rate=4e-3),
    "lower rate": Way(**BEFORE, rate=2e-3),
    "lower rate, shorter end": Way(**BEFORE | {"last": 2}, rate=2e-3),
    "lower rate, shorter end, everything replayed": Way(**BEFORE | {"last": 2}, n_replay=N_FIRST + N_RUN, rate=2e-3),
    "polish, no consolidation": Way(**BEFORE, n_replay=16, every=0, max_steps=20, polish=12),
}


def labelled(atoms: Atoms, reference: Calculator) -> Atoms:
    """A copy with the label of the reference."""
    made = atoms.copy()
    made.calc = reference
    energy, forces, stress = made.get_potential_energy(), made.get_forces(), made.get_stress()
    made.calc = SinglePointCalculator(made, energy=energy, forces=forces, stress=stress)
    return made


def heated(system: System, seed: int, temperatures: np.ndarray, steps: int, taken: np.ndarray) -> list[Atoms]:
    """Labelled frames of a run of a crystal with vacancies, ``steps`` at each temperature, after those in ``taken``."""
    atoms, rng, reference = system.crystal(), np.random.default_rng(seed), system.reference()
    del atoms[list(system.missing)]
    atoms.calc = reference
    thermalize_momenta(atoms, temperature_K=600, rng=rng)
    motion = Langevin(
        atoms, system.timestep * units.fs, temperature_K=300, friction=0.02 / units.fs, rng=rng, fixcm=False
    )
    frames = []
    for number, temperature in enumerate(temperatures):
        motion.set_temperature(temperature_K=temperature)
        motion.run(steps // system.shorter)
        if number in taken:
            frames.append(labelled(atoms, reference))
    return frames


def data(name: str, folder: Path) -> dict[str, list[Atoms]]:
    """First structures, the run in order, and frames to judge by; made once, then read from the folder."""
    folder = folder / name
    if (folder / "liquid.traj").exists():  # written last
        return {path.stem: read(path, ":") for path in folder.glob("*.traj")}
    system, rng, first = SYSTEMS[name], np.random.default_rng(1), []
    reference = system.reference()
    for seed in range(N_FIRST):
        atoms = system.crystal()
        atoms.set_cell(atoms.cell * (1 + rng.uniform(-0.03, 0.03)), scale_atoms=True)
        atoms.rattle(rng.uniform(0.02, 0.15), seed=seed)
        first.append(labelled(atoms, reference))
    ramp = np.concatenate([np.full(20, 300.0), np.linspace(300, system.hottest, 60), np.full(60, system.hottest)])
    other = np.concatenate([np.linspace(300, system.hottest, 25), np.full(35, system.hottest)])
    hot = heated(system, 4, other, 60, np.arange(60))
    made = {
        "first": first,
        "run": heated(system, 2, ramp, 50, np.linspace(15, 139, N_RUN).astype(int)),
        "crystal": heated(system, 3, np.full(15, 300.0), 60, np.arange(5, 15)),
        "heating": hot[10:25],
        "liquid": hot[45:],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for part, frames in made.items():
        write(folder / f"{part}.traj", frames)
    return made


def errors(force_field: ForceField, sets: dict[str, list[Atoms]]) -> dict[str, list[float]]:
    """Mean errors on crystal, heating and liquid: meV/atom, meV/Å."""
    judges = {name: 1e3 * force_field.errors(sets[name]).mean(axis=0) for name in ("crystal", "heating", "liquid")}
    return {name: [round(float(value), 3) for value in found[:2]] for name, found in judges.items()}


class Campaign:
    """What a campaign does with its labels, without the rest of it."""

    def __init__(self, start: LocalForceField, sets: dict[str, list[Atoms]], way: Way, seed: int = 0) -> None:
        self.seed = seed
        self.force_field, self.consolidated, self.way, self.sets = start.copy(), start.copy(), way, sets
        self.force_field.settings["polish_steps"] = way.polish
        self.structures = {f"first/{number:03d}": atoms for number, atoms in enumerate(sets["first"])}
        self.ledger = Ledger()
        held = [number % (N_FIRST // HELD_OUT) == 0 for number in range(N_FIRST)]
        self.ledger.add(list(self.structures), start.errors(sets["first"]), held_out=held)
        self.counts = {"refused attempts": 0, "rejected updates": 0, "steps": 0, "discarded": 0}
        self.since, self.moved = 0, False

    def learn(self, number: int, new: list[Atoms]) -> None:
        """One update."""
        way, rng = self.way, np.random.default_rng([1, number, *[self.seed] * (self.seed > 0)])
        replayed = self.ledger.replay(way.n_replay, rng, way.replay)
        validation = self.ledger.validation(N_VALIDATION, rng, exclude=replayed)
        known = Known(
            replayed,
            [self.structures[key] for key in replayed],
            validation,
            [self.structures[key] for key in validation],
        )
        start = self.consolidated if self.moved else None
        effort, guard = Effort(way.n_steps, way.max_steps, 1.5, RATE), Guard(energy_floor=way.floor)
        verdict = attempts(
            self.force_field, lambda: start, new, known, effort, guard, seed=self.seed + 100_000 * number
        )
        self.counts["refused attempts"] += len(verdict.refused)
        self.counts["rejected updates"] += verdict.rejected is not None
        keys = [f"run/{number:03d}/{index}" for index in range(len(new))]
        self.structures |= dict(zip(keys, new, strict=True))
        self.since += 1
        if (learned := verdict.learned) is None:
            self.ledger.waiting += keys
            return
        learned.enter(self.ledger, keys)
        self.force_field, self.moved = learned.force_field, True
        self.counts["steps"] += learned.steps

    def consolidate(self, number: int, steps: int) -> None:
        """All labels together."""
        begins = self.consolidated if self.way.begins == "consolidated" else self.force_field
        trained, keys = begins.copy(), [*self.ledger.keys, *self.ledger.waiting]
        held = np.array([*self.ledger.held_out, *[False] * len(self.ledger.waiting)])
        structures = [self.structures[key] for key in keys]
        before = self.force_field.errors(structures)
        training = [atoms for atoms, out in zip(structures, held, strict=True) if not out]
        trained.consolidate(
            training,
            steps=steps,
            lr=self.way.rate * (GENTLER if self.counts["discarded"] else 1.0),
            seed=number + 100_000 * self.seed,
        )
        after = trained.errors(structures)
        helped, _ = judged(before, after, held)
        self.counts["discarded"] += not helped
        self.since = 0
        if helped:
            self.force_field, self.consolidated, self.moved = trained, trained.copy(), False
            self.ledger.learn_waiting(list(self.ledger.waiting))
            self.ledger.errors = after.tolist()


def run(start: LocalForceField, sets: dict[str, list[Atoms]], way: Way, seed: int = 0) -> dict[str, Any]:
    """Learn all rounds one way; errors at the end, of the crystal on the way, and processor seconds of learning."""
    campaign, spent, crystal = Campaign(start, sets, way, seed), 0.0, []
    n_rounds = N_RUN // A_ROUND
    for number in range(n_rounds):
        started = time.process_time()
        campaign.learn(number, sets["run"][A_ROUND * number : A_ROUND * (number + 1)])
        last = number == n_rounds - 1
        if way.every and (campaign.since >= way.every or last):
            campaign.consolidate(number, way.steps * (way.last if last else 1))
        spent += time.process_time() - started
        crystal.append(1e3 * float(campaign.force_field.errors(sets["crystal"])[:, 0].mean()))
    return {
        "errors": errors(campaign.force_field, sets),
        "crystal best": round(min(crystal), 3),
        "crystal worst": round(max(crystal[n_rounds // 4 :]), 3),
        "seconds": round(spent, 1),
        "never learned": len(campaign.ledger.waiting),
        **campaign.counts,
    }


def first_model(sets: dict[str, list[Atoms]]) -> LocalForceField:
    """What a campaign begins with: a fit to the rattled crystals that are not held out."""
    start = LocalForceField(species=sorted(set(sets["first"][0].get_chemical_symbols())))
    start.fit([atoms for number, atoms in enumerate(sets["first"]) if number % (N_FIRST // HELD_OUT)], seed=5)
    return start


def fresh(sets: dict[str, list[Atoms]], steps: int, seed: int = 7) -> dict[str, Any]:
    """A fit from scratch to all labels."""
    started = time.process_time()
    force_field = get_force_field("local", species=sorted(set(sets["first"][0].get_chemical_symbols())))
    force_field.fit([*sets["first"], *sets["run"]], steps=steps, seed=seed)
    return {"errors": errors(force_field, sets), "seconds": round(time.process_time() - started, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="+", choices=list(SYSTEMS))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--fresh-steps", type=int, default=6000)
    parser.add_argument("--data", type=Path, default=Path("build/learning"))
    parser.add_argument("--out", type=Path, help="JSON to write, or to add to")
    arguments = parser.parse_args()
    one_thread()
    stored = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else {}
    for name in arguments.systems:
        found = stored.setdefault(name, {})
        sets = data(name, arguments.data)
        start = first_model(sets)
        found["first model"] = {"errors": errors(start, sets)}
        print(name, "first model", found["first model"], flush=True)
        tasks: list[str] = [f"fresh fit, {arguments.fresh_steps} steps"] if arguments.fresh_steps else []
        for task in [*tasks, *arguments.ways]:
            found[task] = run(start, sets, WAYS[task]) if task in WAYS else fresh(sets, arguments.fresh_steps)
            print(name, task, found[task], flush=True)
            if arguments.out:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                arguments.out.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
