"""Interrupted equals uninterrupted, to the bit: by stops, by files, by kill -9."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from ase.build import bulk

from idealflow.core.dynamics import (
    CheckOutcome,
    Checkpoint,
    Limits,
    MDState,
    Schedule,
    Stage,
    Trajectory,
    available_samplers,
    get_sampler,
    md_segment,
)
from idealflow.errors import ArtifactError, InputError
from support import environment_with_support
from support.md_worker import ExactEMT, Springs, copper, segment_with_checkpoints, widest

HUNDRED = Schedule([Stage("hold", 300.0, steps=30), Stage("ramp", 300.0, 800.0, steps=70)])


@pytest.mark.parametrize("name", available_samplers())
def test_37_and_63_steps_through_a_file_are_100_steps(name, tmp_path):
    start = MDState.initial(copper(), 300.0, seed=7)
    whole = md_segment(ExactEMT(), start, schedule=HUNDRED, sampler=name)
    first = md_segment(ExactEMT(), start, schedule=HUNDRED, sampler=name, stop_step=37)
    assert (first.state.step, first.reason) == (37, "segment_end")
    first.state.save(tmp_path / "state.npz")
    second = md_segment(ExactEMT(), MDState.load(tmp_path / "state.npz"), schedule=HUNDRED, sampler=name)
    assert (second.state.step, second.reason) == (100, "schedule_end")
    assert second.state.positions.tobytes() == whole.state.positions.tobytes()
    assert second.state.momenta.tobytes() == whole.state.momenta.tobytes()
    assert second.state.cell.tobytes() == whole.state.cell.tobytes()
    assert second.state.digest() == whole.state.digest()  # generator and sampler memory too
    assert first.log + second.log == whole.log or name == "monte-carlo"  # NaN times are not equal to themselves
    assert not np.array_equal(whole.state.positions, start.positions)


def test_full_cell_npt_and_fixed_atoms_resume_exactly():
    alloy = copper()
    alloy.numbers[::3] = 79
    for sampler, fixed in ((get_sampler("npt", hydrostatic=False), False), (get_sampler("bussi", tau=20.0), True)):
        if fixed:
            alloy.set_constraint(_fix(alloy))
        start = MDState.initial(alloy, 400.0, seed=3)
        whole = md_segment(ExactEMT(), start, schedule=HUNDRED, sampler=sampler)
        half = md_segment(ExactEMT(), start, schedule=HUNDRED, sampler=sampler, stop_step=41)
        rest = md_segment(ExactEMT(), half.state, schedule=HUNDRED, sampler=sampler)
        assert rest.state.digest() == whole.state.digest()


def _fix(atoms):
    from ase.constraints import FixAtoms

    return FixAtoms(mask=atoms.positions[:, 2] < 1.0)


def test_one_calculator_may_serve_many_walkers():
    shared = ExactEMT()
    starts = [MDState.initial(copper(), 300.0, seed=[1, walker]) for walker in range(2)]
    alone = [md_segment(ExactEMT(), s, schedule=HUNDRED, stop_step=20).state.digest() for s in starts]
    mixed = [md_segment(shared, s, schedule=HUNDRED, stop_step=10) for s in starts]
    mixed = [md_segment(shared, r.state, schedule=HUNDRED, stop_step=20).state.digest() for r in mixed]
    assert mixed == alone
    assert alone[0] != alone[1]


def test_wall_time_stops_anywhere_without_a_trace():
    start = MDState.initial(copper(), 300.0, seed=2)
    whole = md_segment(ExactEMT(), start, schedule=HUNDRED, check_interval=5, check=widest, stop_step=40)
    state, reasons, log = start, [], []
    while not reasons or reasons[-1] == "wall_time":
        part = md_segment(
            ExactEMT(), state, schedule=HUNDRED, check_interval=5, check=widest, stop_step=40, wall_time_s=1e-9
        )
        assert part.state.step == state.step + 5  # gets on, however small the budget
        state = part.state
        reasons.append(part.reason)
        log += part.log if not log else part.log[1:]  # the first frame is looked at again
    assert reasons == ["wall_time"] * 7 + ["segment_end"]
    assert state.digest() == whole.state.digest()
    assert log == whole.log


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return segment_with_checkpoints(folder), (folder / "md.trj").read_bytes()


def test_kill_9_then_again(tmp_path, undisturbed):
    result, trajectory = undisturbed
    resumed_from = []
    for kill_after_bytes in (40_000, 60_000):
        process = subprocess.Popen(
            [sys.executable, "-m", "support.md_worker", str(tmp_path)], env=environment_with_support()
        )
        file = tmp_path / "md.trj"
        while not (file.exists() and file.stat().st_size > kill_after_bytes):
            assert process.poll() is None, "the segment ended before it could be killed"
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -9
        assert file.read_bytes() != trajectory
        resumed_from.append((tmp_path / "md.checkpoint").read_bytes())
    assert resumed_from[0] != resumed_from[1]  # the second process went on from the first one's checkpoint
    again = segment_with_checkpoints(tmp_path)
    assert again.state.digest() == result.state.digest()
    assert again.log == result.log
    assert (tmp_path / "md.trj").read_bytes() == trajectory
    assert again.n_frames == result.n_frames == len(Trajectory(tmp_path / "md.trj")) == 131


def test_resume_computes_only_what_is_missing(tmp_path, undisturbed):
    result, trajectory = undisturbed
    segment_with_checkpoints(tmp_path)
    steps = []
    again = segment_with_checkpoints(tmp_path, on_step=lambda row: steps.append(row["step"]))
    assert steps == []  # the last checkpoint is the last frame
    assert again.log == result.log
    assert (tmp_path / "md.trj").read_bytes() == trajectory


def test_a_blow_up_is_the_same_after_an_interruption(tmp_path):
    """Same good frame, suspects, log and file, wherever the run was cut before."""
    start = MDState.initial(copper(), 300.0, seed=9)
    hot = Schedule([Stage("ramp", 300.0, 20_000.0, steps=400)])

    def run(folder, on_step=None):
        folder.mkdir(exist_ok=True)
        return md_segment(
            ExactEMT(),
            start,
            schedule=hot,
            check_interval=10,
            check=widest,
            on_step=on_step,
            trajectory=folder / "t",
            trajectory_interval=3,
            limits=Limits(max_temperature=2000.0),
            checkpoint=Checkpoint(folder / "c", interval=20),
        )

    whole = run(tmp_path / "whole")
    assert whole.reason == "blow_up"
    assert whole.state.step < int(whole.detail.split()[1].strip(":"))

    def kill(row):
        if row["step"] == whole.state.step + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", kill)
    again = run(tmp_path / "cut")
    assert (again.reason, again.detail, again.log) == (whole.reason, whole.detail, whole.log)
    assert again.check == whole.check
    assert again.state.digest() == whole.state.digest()
    assert [f.info["step"] for f in again.suspect_frames] == [f.info["step"] for f in whole.suspect_frames]
    assert np.array_equal(again.suspect_frames[-1].positions, whole.suspect_frames[-1].positions)
    assert (tmp_path / "cut" / "t").read_bytes() == (tmp_path / "whole" / "t").read_bytes()


def test_foreign_or_damaged_files_are_refused_and_kept(tmp_path):
    state = MDState.initial(copper(), 300.0, seed=1)
    options = {"schedule": HUNDRED, "check_interval": 5, "stop_step": 30}
    path, trj = tmp_path / "c", tmp_path / "t"
    one = Checkpoint(path, interval=10, key="model 1")
    md_segment(ExactEMT(), state, checkpoint=one, trajectory=trj, **options)
    saved, frames = path.read_bytes(), trj.read_bytes()
    with pytest.raises(InputError, match="another segment"):
        md_segment(ExactEMT(), state, checkpoint=Checkpoint(path, interval=10, key="model 2"), **options)
    with pytest.raises(InputError, match="written once"):
        md_segment(ExactEMT(), state, trajectory=trj, schedule=HUNDRED, check_interval=6)
    path.write_bytes(saved[: len(saved) // 2])
    with pytest.raises(ArtifactError, match="cut short"):
        md_segment(ExactEMT(), state, checkpoint=one, trajectory=trj, **options)
    path.write_bytes(saved)
    trj.write_bytes(frames[: len(frames) // 2])
    with pytest.raises(ArtifactError, match="whole frames"):
        md_segment(ExactEMT(), state, checkpoint=one, trajectory=trj, **options)
    assert path.read_bytes() == saved
    assert trj.read_bytes() == frames[: len(frames) // 2]


def test_state_file_is_exact_and_refuses_damage(tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.set_initial_charges([1.0, -1.0] * 4)
    atoms.set_constraint(_fix(atoms))
    state = MDState.initial(atoms, 500.0, seed=[1, 2, 3])
    state = md_segment(_springs(atoms), state, schedule=HUNDRED, stop_step=3).state
    one, two = state.save(tmp_path / "a.npz"), state.save(tmp_path / "b.npz")
    assert one.read_bytes() == two.read_bytes()
    back = MDState.load(one)
    assert back.digest() == state.digest()
    assert back.rng().normal() == state.rng().normal()
    assert back.atoms().get_initial_charges().tolist() == [1.0, -1.0] * 4
    assert back.atoms().constraints[0].index.tolist() == atoms.constraints[0].index.tolist()
    content = one.read_bytes()
    for cut in (0, 10, len(content) // 2, len(content) - 1):
        two.write_bytes(content[:cut])
        with pytest.raises(ArtifactError, match="cut short"):
            MDState.load(two)
    position = content.index(state.positions.tobytes()) + 5
    two.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
    with pytest.raises(ArtifactError, match="damaged"):
        MDState.load(two)
    with pytest.raises(ArtifactError, match="does not exist"):
        MDState.load(tmp_path / "none.npz")
    assert not list(tmp_path.glob(".*tmp"))


def _springs(atoms):
    return Springs(atoms.positions)


def test_a_check_does_not_disturb_the_walker():
    start = MDState.initial(copper(), 300.0, seed=4)

    def meddling(atoms, step):
        atoms.positions += 1.0
        atoms.arrays["momenta"][:] = 0.0
        np.random.default_rng().normal()
        return CheckOutcome(stop=False)

    with_check = md_segment(ExactEMT(), start, schedule=HUNDRED, check_interval=1, check=meddling, stop_step=10)
    without = md_segment(ExactEMT(), start, schedule=HUNDRED, stop_step=10)
    assert with_check.state.digest() == without.state.digest()
