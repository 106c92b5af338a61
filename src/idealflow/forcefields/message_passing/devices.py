"""Where networks are computed: torch devices, what memory a part of a structure may take there, and repeatable sums."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import deterministic as torch_deterministic

from idealflow.core.torch_engine import torch_device
from idealflow.settings import Settings

__all__ = ["chosen_device", "deterministic", "memory_budget"]

#: bytes that one part of a structure may take on a CPU; about the size at which a core's caches no longer help
_CPU_BUDGET = 64 << 20


def chosen_device(name: str | None) -> torch.device:
    """The torch device of a name; None takes ``IDEALFLOW_FORCE_FIELD_DEVICE`` from the environment, and else the CPU.

    Raises
    ------
    InputError
        If there is no such device.

    Examples
    --------
    >>> chosen_device("cpu").type
    'cpu'
    """
    device = torch_device(name or Settings().force_field_device or "cpu")
    if device.type == "cuda":
        # cuBLAS repeats its sums only with a workspace of fixed size, and reads this when it starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return device


def memory_budget(device: torch.device) -> int:
    """Bytes that one part of a structure may take.

    On a GPU an eighth of its memory, whatever is free just then: the parts, and with them the last bits of the results, depend on
    the device alone.

    Examples
    --------
    >>> memory_budget(torch.device("cpu")) // 2**20
    64
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory) // 8
    return _CPU_BUDGET


@contextmanager
def deterministic() -> Iterator[None]:
    """Let torch use algorithms only that give the same bits every time; what was set before comes back afterwards.

    Examples
    --------
    >>> with deterministic():
    ...     torch.are_deterministic_algorithms_enabled()
    True
    """
    before = torch.get_deterministic_debug_mode()
    switches: Any = torch_deterministic  # a module whose attribute is a property
    filled = switches.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    switches.fill_uninitialized_memory = False  # nothing here reads memory before it is written
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        switches.fill_uninitialized_memory = filled
