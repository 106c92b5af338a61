"""Schedules, samplers against exact averages, blow-ups, checks, trajectories and bad input."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms, FixBondLength
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.core.archive import read_archive, write_archive
from idealflow.core.dynamics import (
    CheckOutcome,
    Checkpoint,
    Limits,
    MDState,
    Schedule,
    Stage,
    Trajectory,
    get_sampler,
    md_segment,
    sampler_from_dict,
    sampler_to_dict,
)
from idealflow.errors import ArtifactError, InputError
from support.md_worker import ExactEMT, Springs, copper

HOLD = Schedule([Stage("hold", 300.0, steps=100)])
temperatures = st.floats(0.0, 3000.0)
stages = st.one_of(
    st.builds(Stage, kind=st.just("hold"), temperature=temperatures, steps=st.integers(1, 9)),
    st.builds(Stage, kind=st.just("ramp"), temperature=temperatures, to=temperatures, steps=st.integers(1, 9)),
)


# schedules


@settings(max_examples=50, deadline=None)
@given(st.lists(stages, min_size=1, max_size=5))
def test_schedule_equals_a_table_written_out(parts):
    table, owner = [parts[0].temperature], [0]
    for number, part in enumerate(parts):
        end = part.temperature if part.to is None else part.to
        table += list(np.linspace(part.temperature, end, part.steps + 1)[1:])
        owner += [number] * part.steps
    schedule = Schedule(parts)
    assert schedule.n_steps == len(table) - 1
    np.testing.assert_allclose([schedule.temperature(s) for s in range(len(table))], table, rtol=1e-12, atol=1e-9)
    assert [schedule.stage(s) for s in range(len(table))] == owner
    assert Schedule.from_dict(schedule.to_dict()) == schedule


def test_a_jump_is_two_holds():
    schedule = Schedule([Stage("hold", 300.0, steps=3), Stage("hold", 1500.0, steps=2)])
    assert [schedule.temperature(s) for s in range(6)] == [300.0, 300.0, 300.0, 300.0, 1500.0, 1500.0]


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "hold", "temperature": -1.0, "steps": 5},
        {"kind": "hold", "temperature": math.nan, "steps": 5},
        {"kind": "hold", "temperature": 300.0, "steps": 0},
        {"kind": "hold", "temperature": 300.0, "to": 400.0, "steps": 5},
        {"kind": "ramp", "temperature": 300.0, "steps": 5},
        {"kind": "jump", "temperature": 300.0, "steps": 5},
    ],
)
def test_impossible_stages_are_refused(arguments):
    with pytest.raises(InputError, match="got"):
        Stage(**arguments)


def test_schedule_limits():
    with pytest.raises(InputError, match="at least one stage"):
        Schedule([])
    for step in (-1, 101):
        with pytest.raises(InputError, match="within the schedule"):
            HOLD.temperature(step)


# samplers: averages that are known exactly


def _average(atoms, calculator, sampler, *, temperature, n_steps, skip):
    schedule = Schedule([Stage("hold", temperature, steps=n_steps)])
    rows, volumes = [], []

    def look(frame, step):
        volumes.append(frame.cell.volume)
        return CheckOutcome(stop=False)

    result = md_segment(
        calculator,
        MDState.initial(atoms, temperature, seed=11),
        schedule=schedule,
        sampler=sampler,
        check_interval=1,
        check=look,
        limits=Limits(max_temperature=math.inf),
    )
    assert result.reason == "schedule_end"
    rows = result.log[skip:]
    energy = np.mean([row["potential_energy"] for row in rows])
    temperature = np.mean([row["temperature"] for row in rows])
    return energy, temperature, np.mean(volumes[skip:]), result


@pytest.mark.parametrize("name", ["langevin", "bussi"])
def test_canonical_averages_of_springs(name):
    # stiff springs: a period of 52 fs, so that a few picoseconds hold many; the centre of mass is held
    atoms = Atoms("Ne27", positions=np.random.default_rng(0).uniform(0, 10, (27, 3)))
    sampler = get_sampler(name, **{"friction": 0.02} if name == "langevin" else {"tau": 50.0})
    springs = Springs(atoms.positions, k=30.0)
    energy, temperature, _, result = _average(atoms, springs, sampler, temperature=400.0, n_steps=6000, skip=500)
    exact = 1.5 * (len(atoms) - 1) * units.kB * 400.0
    assert energy == pytest.approx(exact, rel=0.06)
    assert temperature == pytest.approx(400.0, rel=0.05)
    drift = result.state.atoms().get_center_of_mass() - atoms.get_center_of_mass()
    assert np.abs(drift).max() < 1e-10


def test_monte_carlo_averages_of_springs_and_swaps():
    atoms = Atoms("NeArNe", positions=np.eye(3) * 4.0)
    sampler = get_sampler("monte-carlo", max_displacement=0.4, n_moved=1)
    springs = Springs(atoms.positions)
    energy, temperature, _, result = _average(atoms, springs, sampler, temperature=400.0, n_steps=12_000, skip=500)
    assert energy == pytest.approx(1.5 * 3 * units.kB * 400.0, rel=0.06)
    assert math.isnan(temperature)
    trials, accepted = result.state.sampler_state["trials_accepted"]
    assert trials == 12_000
    assert 0.2 < accepted / trials < 0.9
    # swapping two atoms between their sites costs k·d²; at 400 K it never happens, at no cost (k = 0) always
    swap = get_sampler("monte-carlo", swap_probability=1.0)
    start = MDState.initial(atoms, None, seed=0)
    cold = md_segment(Springs(atoms.positions), start, schedule=HOLD, sampler=swap)
    free = md_segment(Springs(atoms.positions, k=0.0), start, schedule=HOLD, sampler=swap)
    assert cold.state.sampler_state["trials_accepted"].tolist() == [100, 0]
    assert np.array_equal(cold.state.positions, start.positions)
    assert free.state.sampler_state["trials_accepted"].tolist() == [100, 100]


def test_nve_conserves_energy_and_matches_the_harmonic_solution():
    atoms = Atoms("ArNe", positions=[[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    atoms.set_constraint(FixAtoms([0]))
    sites = atoms.positions.copy()
    atoms.positions[1, 0] += 0.1
    result = md_segment(
        Springs(sites),
        MDState.initial(atoms, 0.0, seed=0),
        schedule=Schedule([Stage("hold", 0.0, steps=200)]),
        sampler=get_sampler("nve", timestep=0.25),
        check_interval=1,
    )
    omega = math.sqrt(1.0 / atoms.get_masses()[1])  # 1 / ASE time
    expected = 3.0 + 0.1 * math.cos(omega * 50.0 * units.fs)
    assert result.state.positions[1, 0] == pytest.approx(expected, abs=1e-4)
    assert result.state.positions[0].tolist() == [0.0, 0.0, 0.0]
    kinetic = [1.5 * units.kB * row["temperature"] for row in result.log]  # one free atom
    total = np.array([row["potential_energy"] for row in result.log]) + kinetic
    assert np.ptp(total) < 1e-4 * total.mean()


def test_npt_finds_the_volume_where_pressures_balance():
    atoms = bulk("Ne", "sc", a=4.0) * (3, 3, 3)
    volume, pressure, temperature, modulus = atoms.get_volume(), 0.02, 300.0, 0.5
    calculator = Springs(atoms.positions, k=0.0, bulk_modulus=modulus, volume=volume)
    sampler = get_sampler("npt", pressure=pressure, tau=50.0, tau_cell=200.0)
    _, kelvin, mean, _ = _average(atoms, calculator, sampler, temperature=temperature, n_steps=6000, skip=1000)
    # ideal gas on an elastic box: p = N kT / V − K (V − V0) / V0
    n_kt = (len(atoms) - 1) * units.kB * temperature
    grid = np.linspace(0.8, 1.2, 200_001) * volume
    balance = grid[np.argmin(np.abs(n_kt / grid - modulus * (grid - volume) / volume - pressure))]
    assert mean == pytest.approx(balance, rel=0.005)
    assert kelvin == pytest.approx(temperature, rel=0.05)
    assert abs(balance / volume - 1.0) > 0.02  # a wrong sign of the pressure would be seen


def test_default_time_step_knows_hydrogen():
    for symbols, expected in (("OH", 0.5), ("Cu2", 1.0)):
        atoms = Atoms(symbols, positions=[[0, 0, 0], [2, 0, 0]])
        result = md_segment(Springs(atoms.positions), MDState.initial(atoms, 10.0, 0), schedule=HOLD)
        assert result.log[-1]["time_fs"] == 100 * expected
    assert get_sampler("langevin", timestep=2.0).time_step(result.state) == 2.0


def test_one_evaluation_a_step():
    atoms = copper()
    for name, most in (("langevin", 101), ("nve", 101), ("bussi", 101), ("npt", 101), ("monte-carlo", 101)):
        calculator = Springs(atoms.positions, k=1.0, bulk_modulus=1.0, volume=atoms.get_volume())
        md_segment(calculator, MDState.initial(atoms, 300.0, 0), schedule=HOLD, sampler=name)
        assert calculator.calls <= most, name


def test_fixed_atoms_stay_and_do_not_count_in_the_temperature():
    atoms = copper()
    atoms.set_constraint(FixAtoms(mask=atoms.positions[:, 2] < 1.0))
    state = MDState.initial(atoms, 300.0, seed=1)
    result = md_segment(ExactEMT(), state, schedule=HOLD)
    fixed = state.fixed
    assert fixed.sum() == 8
    assert np.array_equal(result.state.positions[fixed], atoms.positions[fixed])
    assert (np.abs(result.state.positions[~fixed] - atoms.positions[~fixed]).max(axis=1) > 0.0).all()
    kinetic = (result.state.momenta**2 / result.state.masses[:, None]).sum() / 2.0
    assert result.log[-1]["temperature"] == pytest.approx(2.0 * kinetic / (3 * 24 * units.kB), rel=1e-12)


def test_positions_are_not_wrapped():
    atoms = Atoms("Ar2", positions=[[0.5, 0.5, 0.5], [2.5, 2.5, 2.5]], cell=[5.0, 5.0, 5.0], pbc=True)
    atoms.set_momenta([[80.0, 0.0, 0.0], [-80.0, 0.0, 0.0]])
    state = MDState.initial(atoms, None, seed=0)
    result = md_segment(
        Springs(atoms.positions, k=0.0), state, schedule=HOLD, sampler="nve", limits=Limits(max_temperature=math.inf)
    )
    way = 80.0 / atoms.get_masses()[0] * 100.0 * units.fs
    assert way > 10.0
    assert result.state.positions[:, 0] == pytest.approx([0.5 + way, 2.5 - way])


def test_sampler_registry():
    for data in ({"name": "npt", "pressure": -0.01, "hydrostatic": False}, {"name": "monte-carlo", "n_moved": 3}):
        sampler = sampler_from_dict(data)
        assert sampler_from_dict(sampler_to_dict(sampler)) == sampler
        assert sampler_to_dict(sampler).items() >= data.items()
    with pytest.raises(InputError, match="available: bussi, langevin"):
        get_sampler("langewin")
    with pytest.raises(InputError, match="has no setting 'frictoin'"):
        get_sampler("langevin", frictoin=0.1)
    for bad in ({"timestep": 0.0}, {"friction": -1.0}, {"timestep": math.nan}):
        with pytest.raises(InputError, match="must be"):
            get_sampler("langevin", **bad)


# checks, limits, ends


def test_a_check_sees_multiples_and_stops_at_exactly_its_frame():
    seen = {}

    def check(atoms, step):
        seen[step] = atoms.positions.copy()
        return CheckOutcome(stop=step == 30, max_uncertainty=float(step), data={"centres": [step]})

    state = MDState.initial(copper(), 300.0, seed=1)
    rows = []
    result = md_segment(ExactEMT(), state, schedule=HOLD, check_interval=10, check=check, on_step=rows.append)
    assert list(seen) == [0, 10, 20, 30]
    assert (result.reason, result.state.step) == ("triggered", 30)
    assert result.check.data == {"centres": [30]}
    assert np.array_equal(result.state.positions, seen[30])
    assert [row["max_uncertainty"] for row in result.log] == [0.0, 10.0, 20.0, 30.0]
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert rows[14]["max_uncertainty"] == 10.0
    # the frame is screened again before the walker moves on
    again = md_segment(ExactEMT(), result.state, schedule=HOLD, check_interval=10, check=check)
    assert (again.reason, again.state.digest()) == ("triggered", result.state.digest())


def test_first_frame_between_multiples_is_checked_on_demand():
    seen = []

    def check(atoms, step):
        seen.append(step)
        return CheckOutcome(stop=False)

    state = md_segment(ExactEMT(), MDState.initial(copper(), 300.0, 1), schedule=HOLD, stop_step=7).state
    md_segment(ExactEMT(), state, schedule=HOLD, check_interval=5, check=check, stop_step=16)
    md_segment(ExactEMT(), state, schedule=HOLD, check_interval=5, check=check, stop_step=16, check_first=True)
    assert seen == [10, 15, 7, 10, 15]


def test_end_of_schedule_is_still_screened():
    state = md_segment(ExactEMT(), MDState.initial(copper(), 300.0, 1), schedule=HOLD).state
    result = md_segment(ExactEMT(), state, schedule=HOLD, check=lambda *_: CheckOutcome(stop=True))
    assert (result.reason, result.state.step) == ("triggered", 100)
    assert md_segment(ExactEMT(), state, schedule=HOLD).reason == "schedule_end"


class Explodes(ExactEMT):
    """EMT until it is asked for the n-th time."""

    def __init__(self, at, how):
        super().__init__()
        self.left, self.how = at, how

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.left -= 1
        if self.left < 0:
            self.results["forces"] = self.results["forces"].copy()
            if self.how == "nan forces":
                self.results["forces"][0] = math.nan
            elif self.how == "nan energy":
                self.results["energy"] = math.nan
            else:
                self.results["forces"][3] = [0.0, 0.0, 101.0]


@pytest.mark.parametrize(
    ("how", "words"),
    [("nan forces", "forces are not finite"), ("nan energy", "energy is nan"), ("big force", "atom 3 is 101.0 eV/Å")],
)
def test_blow_up_returns_to_the_last_good_frame(how, words, tmp_path):
    state = MDState.initial(copper(), 300.0, seed=1)
    good = md_segment(ExactEMT(), state, schedule=HOLD, check_interval=10, stop_step=20, trajectory=tmp_path / "good")
    result = md_segment(
        Explodes(27, how), state, schedule=HOLD, check_interval=10, trajectory=tmp_path / "bad", trajectory_interval=2
    )
    assert result.reason == "blow_up"
    assert words in result.detail
    assert result.detail.startswith("step 27")
    assert result.state.digest() == good.state.digest()
    assert [frame.info["step"] for frame in result.suspect_frames] == [21, 22, 23, 24, 25, 26, 27]
    assert all(np.isfinite(frame.positions).all() for frame in result.suspect_frames)
    assert [frame.info["step"] for frame in Trajectory(tmp_path / "bad")] == list(range(0, 21, 2))
    assert [row["step"] for row in result.log] == [0, 10, 20]


def test_suspects_are_bounded_and_end_with_the_last_finite_frame():
    state = MDState.initial(copper(), 300.0, seed=1)
    result = md_segment(Explodes(57, "big force"), state, schedule=HOLD, check_interval=50)
    assert [frame.info["step"] for frame in result.suspect_frames] == [51, 52, 53, 54, 55, 56, 57]
    result = md_segment(Explodes(45, "big force"), state, schedule=HOLD, check_interval=50)
    assert [frame.info["step"] for frame in result.suspect_frames] == list(range(30, 46))
    assert result.state.step == 0


def test_first_frame_may_already_be_blown_up():
    atoms = copper()
    atoms.positions[1] = atoms.positions[0] + 0.3
    result = md_segment(ExactEMT(), MDState.initial(atoms, 300.0, 0), schedule=HOLD)
    assert (result.reason, result.state.step, len(result.suspect_frames)) == ("blow_up", 0, 1)


class Refuses(Springs):
    """A calculator that sends an atom away and refuses what is no longer a number."""

    def calculate(self, atoms=None, *args):
        if not np.isfinite(atoms.positions).all():
            raise InputError("positions must be finite")
        super().calculate(atoms, *args)
        if self.calls == 5:
            self.results["forces"][0] = 1e300  # finite, so that only the next step runs into it


def test_a_calculator_that_refuses_nan_is_a_blow_up_and_other_failures_are_not():
    atoms = copper()
    state = MDState.initial(atoms, 300.0, 0)
    wide = Limits(max_force=math.inf, max_temperature=math.inf)
    with np.errstate(all="ignore"):
        huge = get_sampler("nve", timestep=1.0)
        object.__setattr__(huge, "timestep", 1e8)  # which the sampler itself refuses
        result = md_segment(Refuses(atoms.positions, k=0.0), state, schedule=HOLD, sampler=huge, limits=wide)
    assert result.reason == "blow_up"
    assert result.detail == "step 5: positions or cell are not finite (InputError: positions must be finite)"
    assert [frame.info["step"] for frame in result.suspect_frames] == [1, 2, 3, 4]

    class Broken(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012 - ase's protocol

        def calculate(self, *_):
            raise OSError("license server is down")

    with pytest.raises(OSError, match="license"):
        md_segment(Broken(), state, schedule=HOLD)


def test_temperature_limit():
    state = MDState.initial(copper(), 300.0, seed=1)
    result = md_segment(ExactEMT(), state, schedule=HOLD, limits=Limits(max_temperature=100.0))
    assert result.reason == "blow_up"
    assert "limit 100" in result.detail


def test_a_single_hot_atom_is_a_blow_up_though_the_frame_is_cold():
    atoms = copper()
    state = MDState.initial(atoms, 300.0, seed=1)
    momenta = state.momenta.copy()
    momenta[7] = [math.sqrt(2.0 * 40.0 * atoms.get_masses()[7]), 0.0, 0.0]
    limits = Limits(max_kinetic_energy=20.0, max_temperature=math.inf)
    springs = Springs(atoms.positions, k=0.0)
    hot = md_segment(springs, replace(state, momenta=momenta), schedule=HOLD, sampler="nve", limits=limits)
    assert (hot.reason, hot.detail) == ("blow_up", "step 0: the kinetic energy of atom 7 is 40.0 eV, limit 20")
    calm = md_segment(springs, state, schedule=HOLD, sampler="nve", limits=limits)
    assert calm.reason == "schedule_end"


# trajectories


def test_trajectory_gives_back_the_frames_and_survives_cuts(tmp_path):
    path = tmp_path / "md.trj"
    frames = {}

    def check(atoms, step):
        frames[step] = atoms
        return CheckOutcome(stop=False)

    state = MDState.initial(copper(), 300.0, seed=1)
    result = md_segment(ExactEMT(), state, schedule=HOLD, sampler="npt", check_interval=4, check=check, trajectory=path)
    stored = Trajectory(path)
    assert len(stored) == result.n_frames == 26
    assert stored.steps().tolist() == [atoms.info["step"] for atoms in stored]
    for atoms in stored:
        assert np.array_equal(atoms.positions, frames[atoms.info["step"]].positions)
        assert np.array_equal(atoms.get_velocities(), frames[atoms.info["step"]].get_velocities())
        assert atoms.get_temperature() > 0
        assert np.array_equal(atoms.cell, frames[atoms.info["step"]].cell)
    assert stored[-1].info["time"] == 100.0
    assert stored[-1].info["energy"] == result.log[-1]["potential_energy"]
    assert [a.info["step"] for a in stored[3:6]] == [12, 16, 20]
    arrays = stored.arrays()
    assert arrays["positions"].shape == (26, 32, 3)
    assert np.array_equal(arrays["cell"][7], stored[7].cell)
    assert np.array_equal(arrays["momenta"][7], stored[7].get_momenta())
    with pytest.raises(IndexError):
        stored[26]
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert len(Trajectory(path)) == 25
    assert Trajectory(path)[-1].info["step"] == 96
    path.write_bytes(content[:-100] + b"x" + content[-99:])
    assert len(Trajectory(path)) == 26
    with pytest.raises(ArtifactError, match="frame 25"):
        Trajectory(path)[25]
    path.write_bytes(content[:50])
    with pytest.raises(ArtifactError, match="cut within its header"):
        Trajectory(path)
    path.write_bytes(b"something else")
    with pytest.raises(ArtifactError, match="not a trajectory"):
        Trajectory(path)


def test_trajectories_of_following_segments_join_without_repeats(tmp_path):
    state = MDState.initial(copper(), 300.0, seed=1)
    whole = md_segment(ExactEMT(), state, schedule=HOLD, trajectory=tmp_path / "whole", stop_step=40)
    half = md_segment(ExactEMT(), state, schedule=HOLD, trajectory=tmp_path / "a", stop_step=20)
    md_segment(ExactEMT(), half.state, schedule=HOLD, trajectory=tmp_path / "b", stop_step=40)
    joined = [*Trajectory(tmp_path / "a"), *Trajectory(tmp_path / "b")]
    assert whole.n_frames == 5
    for one, two in zip(joined, Trajectory(tmp_path / "whole"), strict=True):
        assert np.array_equal(one.positions, two.positions)


# bad input, before any computation


class Untouchable(Calculator):
    """Fails the test if it is asked for anything."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - ase's protocol

    def calculate(self, *_):
        raise AssertionError("computed before the input was checked")


def _nan(atoms):
    atoms.positions[3, 1] = math.nan


def _flat(atoms):
    atoms.cell[2] = atoms.cell[1]


def _bond(atoms):
    atoms.set_constraint(FixBondLength(0, 1))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_nan, "for atom 3"),
        (_flat, "span a volume"),
        (_bond, "FixBondLength"),
        (lambda a: a.set_cell([0, 0, 0]), "span"),
    ],
)
def test_bad_structures_are_refused(spoil, words):
    atoms = copper()
    spoil(atoms)
    with pytest.raises(InputError, match=words):
        MDState.initial(atoms, 300.0, seed=0)


def test_bad_arguments_are_refused_before_any_computation(tmp_path):
    state = MDState.initial(copper(), 300.0, seed=0)
    fixed = copper()
    fixed.set_constraint(FixAtoms([0]))
    slab = copper()
    slab.pbc = [True, True, False]
    rest = MDState.initial(copper(), 0.0, seed=0)
    cases = [
        (state, {"check_interval": 0}, "check_interval"),
        (state, {"check_interval": 2.5}, "check_interval"),
        (state, {"trajectory_interval": 0}, "trajectory_interval"),
        (state, {"checkpoint": Checkpoint(tmp_path / "c", interval=15)}, "multiple"),
        (state, {"checkpoint": Checkpoint(tmp_path / "no" / "c")}, "folder"),
        (state, {"trajectory": tmp_path / "no" / "t"}, "folder"),
        (state, {"wall_time_s": 0.0}, "time_limit_s"),
        (state, {"stop_step": -1}, "beyond"),
        (state, {"sampler": "monte-carlo", "schedule": HOLD, "sampler_settings": {"n_moved": 99}}, "free atoms"),
        (state, {"sampler": "monte-carlo", "sampler_settings": {"swap_probability": 0.5}}, "two elements"),
        (MDState.initial(fixed, 300.0, seed=0), {"sampler": "npt"}, "fixed atoms"),
        (MDState.initial(slab, 300.0, seed=0), {"sampler": "npt"}, "three directions"),
        (rest, {"sampler": "bussi"}, "at rest"),
    ]
    for start, arguments, words in cases:
        options = {"schedule": HOLD, **arguments}
        extra = options.pop("sampler_settings", None)
        if extra:
            options["sampler"] = get_sampler(options["sampler"], **extra)
        with pytest.raises(InputError, match=words):
            md_segment(Untouchable(), start, **options)
    with pytest.raises(InputError, match="at least 0 K"):
        MDState.initial(copper(), -5.0, seed=0)
    with pytest.raises(InputError, match="must be positive"):
        Limits(max_force=0.0)
    moved = md_segment(Springs(state.positions), state, schedule=HOLD, sampler="monte-carlo", stop_step=1).state
    with pytest.raises(InputError, match="without_memory"):
        md_segment(Untouchable(), moved, schedule=HOLD, sampler="npt")
    assert list(tmp_path.iterdir()) == []


# volume and pressure


def test_the_log_has_volume_and_pressure_of_virial_and_motion():
    start = MDState.initial(copper(2), temperature=600.0, seed=1)
    result = md_segment(ExactEMT(), start, schedule=HOLD, sampler="npt", stop_step=20)
    end = result.state.atoms()
    end.calc = ExactEMT()
    with_motion = end.get_stress(include_ideal_gas=True)
    assert result.log[-1]["step"] == 20
    assert result.log[-1]["volume"] == pytest.approx(end.get_volume())
    assert result.log[-1]["pressure"] == pytest.approx(-with_motion[:3].mean())
    assert len({row["volume"] for row in result.log}) == len(result.log)


def test_without_a_periodic_cell_or_a_stress_they_are_not_numbers():
    slab = copper(2)
    slab.pbc = (True, True, False)
    start = MDState.initial(slab, temperature=300.0, seed=1)
    row = md_segment(ExactEMT(), start, schedule=HOLD, stop_step=10).log[-1]
    assert math.isnan(row["volume"])
    assert math.isnan(row["pressure"])
    springs = Springs(copper(2).positions)
    springs.calculate = lambda *args, **kwargs: (
        Springs.calculate(springs, *args, **kwargs),
        springs.results.pop("stress"),
    )
    row = md_segment(springs, MDState.initial(copper(2), temperature=300.0, seed=1), schedule=HOLD, stop_step=10).log[
        -1
    ]
    assert row["volume"] == pytest.approx(copper(2).get_volume())
    assert math.isnan(row["pressure"])


def test_a_checkpoint_of_before_is_continued(tmp_path):
    start = MDState.initial(copper(2), temperature=300.0, seed=1)
    file = tmp_path / "md.npz"
    settings = {"schedule": HOLD, "check_interval": 5, "checkpoint": Checkpoint(file, interval=5)}
    whole = md_segment(ExactEMT(), start, **settings)
    arrays, meta = read_archive(file, "idealflow segment checkpoint", 1)
    arrays["log"] = arrays["log"][:3, :6]  # what it was at step 15, without the two columns
    early = md_segment(ExactEMT(), start, schedule=HOLD, check_interval=5, stop_step=15).state
    state_arrays, state_meta = early.to_arrays()
    write_archive(
        file, "idealflow segment checkpoint", 1, {**state_arrays, "log": arrays["log"]}, {**meta, **state_meta}
    )
    again = md_segment(ExactEMT(), start, **settings)
    assert [row["potential_energy"] for row in again.log] == [row["potential_energy"] for row in whole.log]
    assert math.isnan(again.log[2]["volume"])
    assert again.log[3]["volume"] == whole.log[3]["volume"]
