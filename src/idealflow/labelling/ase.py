"""Labels from any ASE calculator, computed in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from monty.json import MSONable

from idealflow.core.structure import totals_of
from idealflow.errors import InputError, LabelError, did_you_mean
from idealflow.labelling.ase_worker import ask_worker
from idealflow.labelling.box import right_handed
from idealflow.labelling.label import Label
from idealflow.labelling.universal import UNIVERSAL

__all__ = ["AseEngine", "AseLabeller"]

_SENT_ARRAYS = {"initial_magmoms": "magmoms", "initial_charges": "charges"}


@dataclass
class AseLabeller(MSONable):
    """Labels from an ASE calculator, computed in a process of its own with a time limit.

    Every label gets a new calculator, so that it depends on its structure alone. One that has a true attribute ``pure``, as those
    of this package's force fields have, is used again, since its results do anyway. If the calculator crashes or hangs, that
    label fails and nothing else; what it prints is kept out of the program's output. Files that it writes go to a scratch folder,
    which is removed; paths in ``kwargs`` must be absolute.

    Attributes
    ----------
    calculator
        Import path of the calculator class, or of a function that returns one, e.g. ``ase.calculators.emt.EMT``; or ``sevennet``
        or ``chgnet``, universal force fields whose weights come with their packages, with ``model`` in ``kwargs``.
    kwargs
        Keyword arguments of the calculator; plain values.
    time_limit_s
        Seconds after which a label counts as failed; None: no limit.
    reference
        Name shown in output and documents, e.g. ``EMT (stands in for DFT)``; default: the name of the class. Say so when the
        calculator stands in for DFT.
    import_from
        Folder of the calculator's module, if that is neither installed nor on PYTHONPATH. For a module beside a config it is
        set when the config is read.
    threads
        OpenMP, MKL and OpenBLAS threads of the process.

    Raises
    ------
    InputError
        If ``calculator`` is no import path, ``kwargs`` are not plain values, or the limit is not positive.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import AseLabeller
    >>> labeller = AseLabeller("ase.calculators.lj.LennardJones", {"sigma": 2.3, "epsilon": 0.2})
    >>> label = labeller.compute(bulk("Cu", cubic=True))
    >>> label.forces.shape, label.stress.shape, label.method  # eV/Å, eV/Å³
    ((4, 3), (6,), 'LennardJones')
    >>> AseLabeller("ase.calculators.lj.LennardJones", time_limit_s=0)
    Traceback (most recent call last):
    idealflow.errors.InputError: time_limit_s must be positive, got 0; give None for no limit
    """

    calculator: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    time_limit_s: float | None = 600.0
    reference: str | None = None
    import_from: str | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        """Refuse impossible settings."""
        if "." not in self.calculator and self.calculator not in UNIVERSAL:
            raise InputError(
                f"calculator must be an import path such as 'ase.calculators.emt.EMT', or one of {', '.join(UNIVERSAL)}, got "
                f"{self.calculator!r}{did_you_mean(self.calculator, UNIVERSAL)}"
            )
        if self.time_limit_s is not None and not self.time_limit_s > 0:
            raise InputError(f"time_limit_s must be positive, got {self.time_limit_s}; give None for no limit")
        try:
            plain = json.loads(json.dumps(self.kwargs))
        except (TypeError, ValueError) as error:
            raise InputError(f"kwargs of {self.calculator} must be plain values: {error}") from error
        if plain != _lists(self.kwargs):
            raise InputError(f"kwargs of {self.calculator} must have text keys, got {self.kwargs}")

    @property
    def method(self) -> str:
        """Name of the method that computes the labels."""
        if self.reference is None and self.calculator in UNIVERSAL:
            return UNIVERSAL[self.calculator].method(self.kwargs)
        return self.reference or self.calculator.rpartition(".")[2]

    @property
    def path(self) -> str:
        """Import path of what makes the calculator."""
        return UNIVERSAL[self.calculator].path if self.calculator in UNIVERSAL else self.calculator

    @property
    def cores(self) -> int:
        """Cores that a label takes: the threads of its process."""
        return self.threads

    def check_site(self, species: Iterable[str]) -> None:
        """Refuse to start where the calculator cannot be made, or lacks its program, parameters or pseudopotentials.

        It is made once, in its own process, and computes nothing.

        Raises
        ------
        InputError
            One message for all that is missing.
        """
        if self.calculator in UNIVERSAL:
            UNIVERSAL[self.calculator].check_available()
        request = {"needed": sorted(set(species))}
        try:
            answer = ask_worker(request, self.path, self.kwargs, None, self.threads, self.import_from)
        except LabelError as error:
            raise InputError(f"{self.calculator} cannot label on this machine: it cannot be made ({error})") from error
        if answer["missing"]:
            raise InputError(f"{self.calculator} cannot label on this machine: {'; '.join(answer['missing'])}")

    def science(self) -> dict[str, Any]:
        """Settings that decide a label: the calculator and its arguments, not the time limit or the name shown."""
        universal = UNIVERSAL.get(self.calculator)
        model = {} if universal is None else {"model": universal.model}  # which one also where nobody named it
        return {"calculator": self.calculator, "kwargs": {**model, **self.kwargs}}

    def as_dict(self) -> dict[str, Any]:
        """Stored form: the fields as they are, and a class name that does not depend on the path of this file.

        The method of monty would put the items of ``kwargs`` beside the fields, where they could not be told apart.
        """
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        # younger fields are left out at their defaults, so that stored forms stay as they were
        if self.import_from is None:
            del values["import_from"]
        if self.threads == 1:
            del values["threads"]
        module = type(self).__module__
        own = "idealflow" if module.startswith("idealflow.") else module
        return {"@module": own, "@class": type(self).__name__, **values}

    def label(self, atoms: Atoms, directory: Path | None = None) -> tuple[Label, bytes | None]:  # noqa: ARG002  # no files needed
        """Label a structure as campaigns ask for it: the label, and None for the engine's own document.

        See :meth:`compute`; ``directory`` is not used.
        """
        return self.compute(atoms), None

    def compute(self, atoms: Atoms) -> Label:
        """Compute energy, forces and (for three periodic directions, where the calculator has it) stress.

        The calculator sees initial moments and charges, ``charge`` and ``spin`` in ``info``, and a right-handed cell.

        Parameters
        ----------
        atoms
            Structure; its own calculator and constraints are ignored, it is not changed.

        Returns
        -------
        Label
            Energy (eV), forces (n_atoms, 3) in eV/Å, stress (6,) in eV/Å³ or None.

        Raises
        ------
        LabelError
            When positions are not finite, the calculator raises, crashes, returns NaN or exceeds its time limit; the
            message is the cause.
        """
        if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
            raise LabelError(f"{self.method}: positions or cell are not finite")
        request: dict[str, Any] = {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": right_handed(atoms.cell.array).tolist(),
            "pbc": atoms.pbc.tolist(),
            "info": totals_of(atoms),
        }
        request |= {sent: atoms.arrays[name].tolist() for name, sent in _SENT_ARRAYS.items() if name in atoms.arrays}
        start = time.perf_counter()
        try:
            answer = ask_worker(request, self.path, self.kwargs, self.time_limit_s, self.threads, self.import_from)
            seconds = time.perf_counter() - start
            label = Label(
                answer["energy"],
                answer["forces"],
                answer["stress"],
                self.method,
                seconds,
                core_seconds=answer["core_seconds"],
                n_valence_electrons=answer["n_electrons"],
            )
        except LabelError as error:
            raise LabelError(f"{self.method}: {error}") from error
        if label.n_atoms != len(atoms):
            raise LabelError(f"{self.method}: returned {label.n_atoms} forces for {len(atoms)} atoms")
        return label


class AseEngine(AseLabeller):
    """:class:`AseLabeller` under its former name, so that older scripts go on working; ``label`` returns the label alone.

    ``name`` is called ``reference`` now. There is no time limit unless one is given.

    Examples
    --------
    >>> from idealflow.labelling import AseEngine
    >>> AseEngine("ase.calculators.emt.EMT", name="EMT").time_limit_s is None
    True
    """

    def __init__(
        self,
        calculator: str,
        kwargs: Mapping[str, Any] | None = None,
        time_limit_s: float | None = None,
        name: str | None = None,
        threads: int = 1,
        import_from: str | None = None,
    ) -> None:
        super().__init__(
            calculator,
            {} if kwargs is None else dict(kwargs),
            time_limit_s=time_limit_s,
            reference=name,
            import_from=import_from,
            threads=threads,
        )

    def label(self, atoms: Atoms) -> Label:  # type: ignore[override]  # what it returned under this name
        """Label a structure; the same as :meth:`AseLabeller.compute`."""
        return self.compute(atoms)


def _lists(value: Any) -> Any:
    """Plain values with tuples turned into lists, as after writing and reading JSON."""
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value
