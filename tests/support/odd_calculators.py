"""Calculators that break the rules of ASE in one way each, when they are told to."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class Odd(EMT):
    """Does what it is told when the first atom stands where a test puts it.

    Before that it opens the pipe ``sign``, for itself and all that it starts, and writes a byte: who reads learns that it
    has begun, and, by the end of the pipe, that none of them lives.
    """

    def __init__(self, do, sign=None, count=None, **kwargs):
        super().__init__(**kwargs)
        if count is not None:
            with Path(count).open("a") as file:
                file.write(".")
        self.do = do
        self.sign = sign

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.atoms.positions[0, 0] > 0.5:
            if self.sign is not None:
                sign = os.open(self.sign, os.O_WRONLY)
                os.set_inheritable(sign, True)
                os.write(sign, b".")
            getattr(self, self.do)()

    def raises(self):
        raise RuntimeError("SCF did not converge in 60 cycles")

    def nan(self):
        self.results["forces"][1, 2] = np.nan

    def hangs(self):
        os.system("sleep infinity")  # noqa: S605 - a shell between, as codes are started

    def segfaults(self):
        print("about to read address zero", flush=True)  # noqa: T201 - as codes do
        ctypes.string_at(0)

    def exits(self):
        sys.exit("no licence")

    def prints(self):
        print("x" * 100_000)  # noqa: T201 - as codes do
        os.write(1, b"y" * 100_000)

    def drops(self):
        self.results["forces"] = self.results["forces"][:-1]

    def writes(self):
        Path("scratch.txt").write_text("here")

    def threads(self):
        self.results["energy"] = self.results["free_energy"] = float(os.environ["OMP_NUM_THREADS"])


class Kept(Odd):
    """Says that its results depend on the structure alone."""

    pure = True


class NoStress(Calculator):
    """Does not say what the stress is."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 - ase's protocol

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 1.0, "forces": np.zeros((len(atoms), 3))}


class Smeared(NoStress):
    """Has a free energy beside the energy."""

    implemented_properties = ["energy", "forces", "free_energy"]  # noqa: RUF012 - ase's protocol

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["free_energy"] = 0.5
