"""Where networks are computed: torch devices, what memory a part of a structure may take there, and repeatable sums."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import deterministic as torch_deterministic

from idealflow.core.torch_engine import torch_device
from idealflow.settings import Settings

__all__ = ["chosen_device", "deterministic", "gradients", "memory_budget"]

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

    On a GPU an eighth of its memory, halved until it is at most half of what other processes leave free: as long as they leave a
    quarter of the GPU, the parts, and with them the last bits of the results, depend on the device alone. What this process holds
    itself does not count.

    Examples
    --------
    >>> memory_budget(torch.device("cpu")) // 2**20
    64
    """
    if device.type != "cuda":
        return _CPU_BUDGET
    free, total = torch.cuda.mem_get_info(device)
    left = free + torch.cuda.memory_reserved(device)
    budget = total // 8
    while budget > max(left // 2, _CPU_BUDGET):
        budget //= 2
    return int(budget)


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
    # not use_deterministic_algorithms, which imports torch's compiler for a setting of it: four seconds of a process that starts
    torch.set_deterministic_debug_mode("error")
    switches.fill_uninitialized_memory = False  # nothing here reads memory before it is written
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        switches.fill_uninitialized_memory = filled


def gradients(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], weights: Sequence[Tensor], *, again: bool = False
) -> list[Tensor | None]:
    """Gradients of Σ weight · output in each of some tensors; None in one on which no output depends.

    The same to the bit as ``torch.autograd.grad(outputs, inputs, weights)``, which imports sympy: two seconds of a process that
    starts.

    Parameters
    ----------
    outputs, weights
        Tensors of the same shapes.
    inputs
        Tensors of which they were computed.
    again
        Whether the outputs are to be differentiated once more.

    Examples
    --------
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> gradients([x**2], [x], [torch.tensor([1.0, 10.0])])
    [tensor([ 2., 40.])]
    """
    with torch.enable_grad():
        total = torch.stack([(output * weight).sum() for output, weight in zip(outputs, weights, strict=True)]).sum()
    return list(torch.autograd.grad(total, list(inputs), allow_unused=True, retain_graph=again))
