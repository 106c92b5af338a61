"""The arithmetic of the speed-ups against the paper's Table 4."""

from __future__ import annotations

import numpy as np
import pytest

from idealflow.analysis import acceleration
from idealflow.errors import InputError


@pytest.mark.parametrize(
    ("t_sub", "t_entire", "labelled", "per_frame", "r_fpmd", "r_al"),
    [(59.0, 290_828.0, 901, 1.104, 495_904.0, 4_463.0), (236.0, 2_777_675.0, 1_922, 1.185, 516_673.0, 9_930.0)],
    ids=["Li512", "Al324O486"],
)
def test_table_4(t_sub, t_entire, labelled, per_frame, r_fpmd, r_al):
    found = acceleration(
        t_sub=t_sub,
        t_entire=t_entire,
        n_steps=100_000,
        n_labelled_frames=labelled,
        n_substructures=round(per_frame * labelled),
    )
    np.testing.assert_allclose(found.L, per_frame, atol=6e-4)
    np.testing.assert_allclose(found.R_AL, r_al, rtol=1e-3)
    # the table's own ratio R_FPMD / R_AL for Li512 is 111.1, that of K' = 900; with its K' = 901 it is 111.0
    np.testing.assert_allclose(found.R_FPMD, r_fpmd, rtol=1.5e-3)
    np.testing.assert_allclose(found.R_FPMD / found.R_AL, 100_000 / labelled)


def test_without_labels_and_bad_counts():
    none = acceleration(t_sub=1.0, t_entire=2.0, n_steps=10, n_labelled_frames=0, n_substructures=0)
    assert (none.L, none.R_AL, none.R_FPMD) == (None, None, None)
    good = {"t_sub": 1.0, "t_entire": 2.0, "n_steps": 10, "n_labelled_frames": 2, "n_substructures": 3}
    for bad in ({"t_sub": 0.0}, {"t_entire": float("nan")}, {"n_substructures": 1}, {"n_steps": -1}):
        with pytest.raises(InputError, match="got"):
            acceleration(**{**good, **bad})
