"""Trajectory files of the first version, which had no momenta, are read, and continued as they are."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from idealflow.core.dynamics import MDState, Schedule, Stage, Trajectory, TrajectoryWriter, md_segment
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
