"""The worker process of :mod:`idealflow.labelling.ase_worker`: it runs one ASE calculator and answers requests over pipes.

It is started as a script and imports nothing of this package, so that neither the package nor the caller's main module is
loaded. Each message, on stdin and on the pipe of answers, is an 8-byte big-endian length and that many bytes of JSON. What
calculators print goes to a log that the parent has opened.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
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


def calculator_of(make: Any, kwargs: dict[str, Any], kept: list[Any]) -> Any:
    """Make a calculator, or take the one of the label before where that gives the same bits.

    It does where the calculator says so itself, by a true attribute ``pure``: its results depend on the structure alone. Models
    take seconds to load.
    """
    if kept:
        calculator = kept.pop()
        calculator.reset()
    else:
        calculator = make(**kwargs)
    if not hasattr(calculator, "get_potential_energy"):
        raise TypeError(f"the calculator's function returned a {type(calculator).__name__}, no ASE calculator")
    return calculator


def compute(make: Any, kwargs: dict[str, Any], request: dict[str, Any], kept: list[Any]) -> dict[str, Any]:
    """Compute energy, forces and stress of the requested atoms; ``kept`` holds a calculator from one label to the next."""
    from ase import Atoms
    from ase.calculators.calculator import PropertyNotImplementedError

    before = processor_seconds()
    atoms = Atoms(**request)
    calculator = calculator_of(make, kwargs, kept)
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
    if getattr(calculator, "pure", False) is True:
        kept.append(calculator)  # not one that failed
    return {
        "energy": energy,
        "forces": forces,
        "stress": stress,
        "n_electrons": electrons,
        "core_seconds": processor_seconds() - before,
    }


def missing(make: Any, kwargs: dict[str, Any], symbols: list[str]) -> list[str]:
    """Say what the calculator lacks on this machine to compute these elements: parameters, pseudopotentials, its program.

    What an engine needs is known of EMT, of GPAW, and of ASE's calculators that start a program; others are made, which
    shows whether they can be.
    """
    shell = _cp2k_shell(make, kwargs)
    if shell is not None and (absent := _absent(shell)):
        return [absent]  # the calculator starts it when it is made, and fails without a word
    calculator = make(**kwargs)
    if not hasattr(calculator, "get_potential_energy"):
        return [f"the calculator's function returned a {type(calculator).__name__}, no ASE calculator"]
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(calculator).__mro__}
    found = [_absent(command) for command in _commands(calculator)]
    if "ase.calculators.emt.EMT" in names:
        from ase.calculators.emt import parameters

        lacking = [symbol for symbol in symbols if symbol not in parameters]
        found += [f"EMT has no parameters of {', '.join(lacking)}, only of {', '.join(parameters)}"] if lacking else []
    if any(name.startswith("gpaw.") for name in names) and isinstance(kwargs.get("setups", "paw"), str):
        found.append(_missing_setups(symbols))
    folder, files = getattr(getattr(calculator, "profile", None), "pseudo_dir", None), kwargs.get("pseudopotentials")
    if folder is not None and isinstance(files, dict):
        found += [
            f"kwargs name no pseudopotential of {symbol}"
            if symbol not in files
            else f"the pseudopotential {files[symbol]} of {symbol} is not in {folder}"
            for symbol in symbols
            if symbol not in files or not (Path(folder) / files[symbol]).is_file()
        ]
    return [text for text in found if text]


def _cp2k_shell(make: Any, kwargs: dict[str, Any]) -> str | None:
    """Command of the program that ASE's CP2K starts; None for other calculators."""
    if f"{getattr(make, '__module__', '')}.{getattr(make, '__name__', '')}" != "ase.calculators.cp2k.CP2K":
        return None
    from ase.config import cfg

    own = kwargs.get("command") or make.command or cfg.parser.get("cp2k", "cp2k_shell", fallback=None)
    return str(own or cfg.get("ASE_CP2K_COMMAND", "cp2k.psmp -s"))


def _commands(calculator: Any) -> list[str]:
    """Commands that a calculator of ASE will start."""
    if hasattr(calculator, "make_command") and hasattr(calculator, "env_commands"):  # VASP
        return [calculator.make_command(calculator.command)]
    profile = getattr(calculator, "profile", None)
    found = [getattr(calculator, "command", None), getattr(profile, "command", None)]
    return [command for command in found if isinstance(command, str) and command.strip()]


def _absent(command: str) -> str:
    """Say that the program of a command is not there; an empty text if it is."""
    program = shlex.split(os.path.expandvars(command))[0]
    if shutil.which(program) is not None:
        return ""
    return f"the program {program!r} of its command {command!r} is not on PATH (ASE's settings or kwargs name it)"


def _missing_setups(symbols: list[str]) -> str:
    """Say of which elements GPAW finds no setup on its search path, whatever the functional; an empty text if it has all."""
    places = [Path(place) for place in sys.modules["gpaw"].setup_paths]
    lacking = [symbol for symbol in symbols if not any(next(place.glob(f"{symbol}.*"), None) for place in places)]
    where = ", ".join(map(str, places)) or "its empty search path (install gpaw-data)"
    return f"GPAW has no setups of {', '.join(lacking)} in {where}" if lacking else ""


def answer(make: Any, kwargs: dict[str, Any], request: dict[str, Any], kept: list[Any]) -> dict[str, Any]:
    """Compute a request in a scratch directory, which is removed; an exception becomes an answer with its message."""
    home = Path.cwd()
    try:
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            os.chdir(scratch)
            try:
                if "needed" in request:
                    return {"missing": missing(make, kwargs, request["needed"])}
                return compute(make, kwargs, request, kept)
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
    kept: list[Any] = []
    while (request := read_frame(sys.stdin.buffer)) is not None:
        write_frame(answers, answer(make, settings["kwargs"], request, kept))


if __name__ == "__main__":
    main()
