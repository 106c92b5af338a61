"""The built-in force field behind the protocol: settings, learning, files."""

from __future__ import annotations

import copy
import io
import json
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields.dataset import check_dataset
from idealflow.forcefields.local.calculator import LocalCalculator
from idealflow.forcefields.local.model import LocalModel
from idealflow.forcefields.local.training import (
    Sample,
    absolute_errors,
    fit_references,
    run_steps,
    samples_of,
    standardise,
)
from idealflow.forcefields.protocol import TrainReport

__all__ = ["LocalForceField"]

_FORMAT = 1


class LocalForceField:
    """Local descriptor and a network per species.

    Parameters
    ----------
    species
        Chemical symbols it can describe.
    cutoff
        Å.
    n_radial, n_channels, width
        Size of the radial basis, of its learned contraction, and of the hidden layers.
    fit_steps, batch_size, fit_lr
        Defaults of :meth:`fit`: gradient steps, structures per step, highest step size.
    """

    name = "local"

    def __init__(
        self,
        species: Sequence[str],
        cutoff: float = 5.0,
        n_radial: int = 8,
        n_channels: int = 8,
        width: int = 32,
        fit_steps: int = 2000,
        batch_size: int = 8,
        fit_lr: float = 5e-3,
    ) -> None:
        unknown = [symbol for symbol in species if symbol not in atomic_numbers]
        if unknown or len(species) == 0:
            raise InputError(f"species must be chemical symbols, at least one, got {list(species)}")
        for label, value in (("cutoff", cutoff), ("fit_lr", fit_lr)):
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{label} must be positive, got {value}")
        for label, value in (
            ("n_radial", n_radial), ("n_channels", n_channels), ("width", width), ("fit_steps", fit_steps),
            ("batch_size", batch_size),
        ):  # fmt: skip
            if int(value) != value or value < 1:
                raise InputError(f"{label} must be a whole number, at least 1, got {value}")
        self._numbers = sorted({atomic_numbers[symbol] for symbol in species})
        self.species = tuple(chemical_symbols[z] for z in self._numbers)
        self.cutoff = float(cutoff)
        self.settings: dict[str, Any] = {
            "species": list(self.species), "cutoff": self.cutoff, "n_radial": n_radial, "n_channels": n_channels,
            "width": width, "fit_steps": fit_steps, "batch_size": batch_size, "fit_lr": fit_lr,
        }  # fmt: skip
        self._kind = np.full(len(chemical_symbols), -1, dtype=np.int64)
        self._kind[self._numbers] = np.arange(len(self._numbers))
        self.model = self._new_model(0)
        self.optimiser_state: dict[str, Any] | None = None

    def calculator(self) -> LocalCalculator:
        """ASE calculator of energy, forces and stress, in single precision with energies summed in double."""
        return LocalCalculator(self.model, self.kinds)

    def kinds(self, atoms: Atoms) -> NDArray[np.int64]:
        """Species index of every atom.

        Raises
        ------
        InputError
            For a species it does not know or positions that are not finite.
        """
        kinds: NDArray[np.int64] = self._kind[atoms.numbers]
        if (kinds < 0).any():
            unknown = sorted({chemical_symbols[z] for z in atoms.numbers[kinds < 0]})
            raise InputError(f"species {', '.join(unknown)} not among the force field's {', '.join(self.species)}")
        if not np.isfinite(atoms.positions).all():
            raise InputError("positions must be finite; the frame holds NaN or infinity")
        return kinds

    def fit(
        self,
        dataset: Sequence[Atoms],
        *,
        steps: int | None = None,
        seed: int = 0,
        validation: Sequence[Atoms] | None = None,
        progress: Callable[[int, int, float], None] | None = None,
    ) -> TrainReport:
        """Learn from scratch: Adam, step size rising over the first tenth and falling to zero as a cosine."""
        samples = self._samples(dataset)
        judged = samples if validation is None or len(validation) == 0 else self._samples(validation)
        steps = int(self.settings["fit_steps"]) if steps is None else steps
        self.model = self._new_model(seed)
        fit_references(self.model, samples)
        standardise(self.model, samples)
        optimiser = self._optimiser()
        size = min(int(self.settings["batch_size"]), len(samples))
        order = np.random.default_rng(seed)
        queue: list[int] = []

        def batch(_: int) -> Sequence[Sample]:
            while len(queue) < size:
                queue.extend(order.permutation(len(samples)).tolist())
            return [samples[queue.pop(0)] for _ in range(size)]

        highest = float(self.settings["fit_lr"])

        def rate(step: int) -> float:
            done = (step + 1) / steps
            return float(highest * min(1.0, done / 0.1) * 0.5 * (1.0 + np.cos(np.pi * done)) + 1e-6)

        history = run_steps(self.model, optimiser, batch, rate, steps, progress)
        self.optimiser_state = optimiser.state_dict()
        return TrainReport(steps, history, absolute_errors(self.model, judged))

    def update(self, new: Sequence[Atoms], replay: Sequence[Atoms], *, steps: int, lr: float, seed: int) -> TrainReport:
        """Go on learning with the stored optimiser state; every batch holds new structures and some of the replay."""
        fresh = self._samples(new)
        old = self._samples(replay) if len(replay) else []
        optimiser = self._optimiser()
        if self.optimiser_state is not None:
            optimiser.load_state_dict(copy.deepcopy(self.optimiser_state))
        size = int(self.settings["batch_size"])
        n_new = min(len(fresh), max(1, size // 2))
        n_old = min(len(old), size - n_new)
        order = np.random.default_rng(seed)

        def batch(_: int) -> Sequence[Sample]:
            picked = [fresh[i] for i in order.choice(len(fresh), n_new, replace=False)]
            return picked + ([old[i] for i in order.choice(len(old), n_old, replace=False)] if n_old else [])

        history = run_steps(self.model, optimiser, batch, lambda step: lr * min(1.0, (steps - step) / (0.3 * steps)), steps)
        self.optimiser_state = optimiser.state_dict()
        return TrainReport(steps, history, absolute_errors(self.model, fresh))

    def errors(self, dataset: Sequence[Atoms]) -> NDArray[np.float64]:
        """Absolute errors per structure, (n, 3): energy eV/atom, mean force eV/Å, mean stress eV/Å³ (NaN if absent)."""
        return absolute_errors(self.model, self._samples(dataset))

    def save(self, path: str | Path) -> Path:
        """Write to one file: a line of JSON (architecture, settings, checksum), then weights and optimiser state."""
        buffer = io.BytesIO()
        torch.save({"model": self.model.state_dict(), "optimiser": self.optimiser_state}, buffer)
        body = buffer.getvalue()
        header = {
            "force_field": self.name, "format": _FORMAT, "settings": self.settings, "size": len(body),
            "crc32": zlib.crc32(body),
        }  # fmt: skip
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as handle:
                handle.write(json.dumps(header).encode() + b"\n" + body)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path

    @classmethod
    def load(cls, path: str | Path) -> LocalForceField:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            If the file is missing, cut short, damaged, foreign, or of a newer format.
        """
        path = Path(path)
        if not path.is_file():
            raise ArtifactError(f"force field {path} does not exist")
        line, _, body = path.read_bytes().partition(b"\n")
        try:
            header = json.loads(line)
            if header["force_field"] != cls.name or header["format"] > _FORMAT:
                raise ArtifactError(f"{path} holds {header['force_field']!r} of format {header['format']}; this reads {_FORMAT}")
            size, checksum = header["size"], header["crc32"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{path} is no force field of idealflow") from error
        if len(body) != size or zlib.crc32(body) != checksum:
            raise ArtifactError(f"{path} is damaged: {len(body)} of {size} bytes, or a wrong checksum; restore it")
        stored = torch.load(io.BytesIO(body), weights_only=True)
        made = cls(**header["settings"])
        made.model.load_state_dict(stored["model"])
        made.optimiser_state = stored["optimiser"]
        return made

    def copy(self) -> LocalForceField:
        """An independent copy."""
        return copy.deepcopy(self)

    def _new_model(self, seed: int) -> LocalModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            s = self.settings
            return LocalModel(self._numbers, self.cutoff, s["n_radial"], s["n_channels"], s["width"])

    def _optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=1e-3, betas=(0.9, 0.99))

    def _samples(self, dataset: Sequence[Atoms]) -> list[Sample]:
        return samples_of(dataset, check_dataset(dataset, self.species), self.kinds, self.cutoff)
