"""What every uncertainty must do, whichever it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from idealflow.errors import ArtifactError


def assert_never_seen(uncertainty: Any, atoms: Atoms, atom: int) -> None:
    """One atom, of a species never seen, is infinitely uncertain, has no gradient and is not covered; the others are finite."""
    values = uncertainty(atoms)
    assert np.isposinf(values[atom])
    assert np.isfinite(np.delete(values, atom)).all()
    weights = np.zeros(len(atoms))
    weights[atom] = 1.0
    value, in_positions, in_cell = uncertainty.value_and_gradient(atoms, weights)
    assert np.isposinf(value)
    assert not in_positions.any()
    assert not in_cell.any()
    assert not uncertainty.covered(atoms, 2.0)[atom]


def assert_cut_short_is_refused(path: Path, share: float, load: Callable[[Path], object]) -> None:
    """A file that ends too early is refused by name."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match=path.name.replace(".", r"\.")):
        load(path)
