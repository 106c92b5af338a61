"""Trajectory files: those of the first version, which had no momenta, are read and continued as they are; smaller formats."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from idealflow.core.dynamics import (
    MDState,
    Schedule,
    SegmentFiles,
    Stage,
    Trajectory,
    TrajectoryWriter,
    md_segment,
)
from idealflow.errors import ArtifactError, InputError
from support.md_worker import ExactEMT, copper


def first_version(content: bytes) -> bytes:
    """The same trajectory as the first version wrote it."""
    (length,) = struct.unpack_from("<Q", content, 8)
    n_atoms = json.loads(content[16 : 16 + length])["n_atoms"]
    start = 16 + length + 17 * n_atoms + (-17 * n_atoms % 8)
    old, size = b"IDFTRJ01" + content[8:start], 8 * 13 + 48 * n_atoms + 8
    for record in range(start, len(content) - size + 1, size):
        body = content[record : record + 8 * 13 + 24 * n_atoms]
        old += body + struct.pack("<II", zlib.crc32(body), 0)
    return old


@pytest.fixture
def new(tmp_path: Path) -> Trajectory:
    state = MDState.initial(copper(), 300.0, seed=1)
    schedule = Schedule([Stage("hold", 300.0, steps=40)])
    md_segment(ExactEMT(), state, schedule=schedule, check_interval=4, trajectory=tmp_path / "new")
    return Trajectory(tmp_path / "new")


def test_it_is_read(new: Trajectory, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(first_version(new.path.read_bytes()))
    old = Trajectory(tmp_path / "old")
    assert old.steps().tolist() == new.steps().tolist() == list(range(0, 41, 4))
    for one, two in zip(old, new, strict=True):
        assert np.array_equal(one.positions, two.positions)
        assert one.info == two.info
        assert "momenta" not in one.arrays
    assert "momenta" not in old.arrays()


@pytest.mark.parametrize("keep", [None, 6])
def test_a_half_done_one_is_continued_after_a_checkpoint_and_begun_anew_before_it(
    new: Trajectory, tmp_path: Path, keep: int | None
) -> None:
    path = tmp_path / "old"
    path.write_bytes(first_version(new.path.read_bytes())[:-500])
    state = MDState.initial(copper(), 300.0, seed=1)
    with TrajectoryWriter(path, state, key=new.key, keep=keep) as writer:
        for atoms in new[keep or 0 :]:
            writer.append(atoms, *(atoms.info[name] for name in ("step", "time", "energy", "temperature")))
    joined = Trajectory(path)
    assert joined.steps().tolist() == new.steps().tolist()
    assert joined.arrays()["positions"].tobytes() == new.arrays()["positions"].tobytes()
    assert ("momenta" in joined[0].arrays) == (keep is None)


@pytest.mark.parametrize(
    ("name", "per_atom", "momenta"), [("exact", 48, True), ("single", 24, True), ("positions", 12, False)]
)
def test_a_smaller_format_loses_digits_of_atoms_and_nothing_else(
    name: str, per_atom: int, momenta: bool, tmp_path: Path
) -> None:
    state = MDState.initial(copper(), 300.0, seed=1)
    schedule = Schedule([Stage("hold", 300.0, steps=12)])
    for form in ("exact", name):
        file = SegmentFiles(trajectory=tmp_path / form, trajectory_format=form)
        end = md_segment(ExactEMT(), state, schedule=schedule, check_interval=4, files=file).state
        assert end.digest() == md_segment(ExactEMT(), state, schedule=schedule, check_interval=4).state.digest()
    exact, small = Trajectory(tmp_path / "exact"), Trajectory(tmp_path / name)
    assert small.layout.per_atom(100) == 100 * per_atom
    assert small.steps().tolist() == exact.steps().tolist() == [0, 4, 8, 12]
    real = np.float64 if name == "exact" else np.float32
    for one, two in zip(small, exact, strict=True):
        assert one.info == two.info
        assert np.array_equal(one.cell, two.cell)
        assert np.array_equal(one.numbers, two.numbers)
        assert np.array_equal(one.get_masses(), two.get_masses())
        assert np.array_equal(one.positions, two.positions.astype(real))
        assert ("momenta" in one.arrays) == momenta
        if momenta:
            assert np.array_equal(one.get_momenta(), two.get_momenta().astype(real))
    assert small.arrays()["positions"].dtype == np.float64
    assert np.array_equal(small.arrays()["positions"][2], small[2].positions)


def test_a_smaller_format_is_continued_and_damage_is_seen(tmp_path: Path) -> None:
    path, odd = tmp_path / "small", copper()
    del odd[0]  # an odd number of atoms: records are filled up to eight bytes
    state = MDState.initial(odd, 300.0, seed=1)
    with TrajectoryWriter(path, state, form="positions") as writer:
        for step in range(3):
            writer.append(state.atoms(), step, 2.0 * step, -1.0, 300.0)
    whole = path.read_bytes()
    with TrajectoryWriter(path, state, keep=1, form="positions") as writer:
        for step in (1, 2):
            writer.append(state.atoms(), step, 2.0 * step, -1.0, 300.0)
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    with pytest.raises(ArtifactError, match=r"frame 2 of .* is damaged"):
        Trajectory(path)[2]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    state = MDState.initial(copper(), 300.0, seed=1)
    schedule = Schedule([Stage("hold", 300.0, steps=12)])
    with pytest.raises(InputError, match=r"`trajectory_format` must be one of exact, single, positions, got 'half'"):
        md_segment(ExactEMT(), state, schedule=schedule, trajectory=tmp_path / "x", trajectory_format="half")
