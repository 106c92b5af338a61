import pytest
import torch
from ase import Atoms

from idealflow.forcefields import ForceField, get_force_field
from support.labelled_cells import copper_cells


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def copper() -> list[Atoms]:
    return copper_cells(24, 1)


@pytest.fixture(scope="session")
def held_out() -> list[Atoms]:
    return copper_cells(12, 2)


@pytest.fixture(scope="session")
def trained(copper: list[Atoms]) -> ForceField:
    """Fitted to the copper cells; tests change copies only."""
    torch.set_num_threads(1)
    force_field = get_force_field("local", species=["Cu"])
    force_field.fit(copper, steps=400, seed=0)
    return force_field
