"""The worker process of :mod:`idealflow.labelling.ase_worker`: it runs one ASE calculator and answers requests over pipes.

It is started as a script and imports nothing of this package, so that neither the package nor the caller's main module is
loaded. Each message, on stdin and on the pipe of answers, is an 8-byte big-endian length and that many bytes of JSON. What
calculators print goes to a log that the parent has opened.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO


def read_frame(stream: BinaryIO) -> Any:
    """Read the next message; None at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    (length,) = struct.unpack(">Q", head)
    body = stream.read(length)
    return json.loads(body) if len(body) == length else None


def write_frame(stream: BinaryIO, message: Any) -> None:
    """Send a message."""
    body = json.dumps(message).encode()
    stream.write(struct.pack(">Q", len(body)) + body)
    stream.flush()


def guard(life: int) -> None:
    """Start a small process that kills this whole process group once the parent has ended.

    Only the parent holds the other end of the pipe `life`, which is closed when the parent ends, even by SIGKILL. The calculator
    could not notice that itself while it is busy in compiled code.
    """
    if os.fork() != 0:
        os.close(life)
        return
    os.closerange(0, life)
    os.closerange(life + 1, 4096)
    while os.read(life, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def load(path: str) -> Any:
    """Import the class (or function) that makes the calculator."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def processor_seconds() -> float:
    """Processor time of this process, all its threads, and the programs it started and waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def compute(make: Any, kwargs: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Compute energy, forces and stress of the requested atoms with a new calculator."""
    from ase import Atoms
    from ase.calculators.calculator import PropertyNotImplementedError

    before = processor_seconds()
    atoms = Atoms(**request)
    calculator = make(**kwargs)
    if not hasattr(calculator, "get_potential_energy"):
        raise TypeError(f"the calculator's function returned a {type(calculator).__name__}, no ASE calculator")
    atoms.calc = calculator
    stress = None
    if (
        atoms.pbc.all()
        and atoms.cell.rank == 3
        and "stress" in getattr(atoms.calc, "implemented_properties", ["stress"])
    ):
        try:  # stress comes first, since file calculators then compute everything in one run
            stress = atoms.get_stress(voigt=True).tolist()
        except (PropertyNotImplementedError, NotImplementedError):
            stress = None
    forces = atoms.get_forces(apply_constraint=False).tolist()
    try:  # forces are the derivative of the free energy, not of the energy extrapolated to zero smearing
        energy = float(atoms.get_potential_energy(force_consistent=True))
    except (PropertyNotImplementedError, NotImplementedError):
        energy = float(atoms.get_potential_energy())
    counted = getattr(atoms.calc, "get_number_of_electrons", None)
    electrons = None if counted is None else float(counted())
    return {
        "energy": energy,
        "forces": forces,
        "stress": stress,
        "n_electrons": electrons,
        "core_seconds": processor_seconds() - before,
    }


def answer(make: Any, kwargs: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Compute a request in a scratch directory, which is removed; an exception becomes an answer with its message."""
    home = Path.cwd()
    try:
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            os.chdir(scratch)
            try:
                return compute(make, kwargs, request)
            finally:
                os.chdir(home)
    except BaseException as error:  # noqa: BLE001 - whatever a calculator raises is its answer
        return {"error": traceback.format_exception_only(error)[-1].strip()}


def main() -> None:
    """Serve requests until stdin ends."""
    guard(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what calculators print must not mix with the answers
    settings = read_frame(sys.stdin.buffer)
    sys.path[:] = settings["path"]
    try:
        make = load(settings["calculator"])
    except BaseException as error:  # noqa: BLE001 - reported to the parent
        write_frame(answers, {"error": traceback.format_exception_only(error)[-1].strip()})
        return
    write_frame(answers, {"ready": True})
    while (request := read_frame(sys.stdin.buffer)) is not None:
        write_frame(answers, answer(make, settings["kwargs"], request))


if __name__ == "__main__":
    main()
