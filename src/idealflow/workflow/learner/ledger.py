"""The replay ledger: key, cached errors and role of every training structure, in one small file for each learner version."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from ase import Atoms
from jobflow import JobStore

from idealflow.core import draw_replay
from idealflow.errors import ArtifactError, CampaignError
from idealflow.schemas import Artifact, LabelledDoc
from idealflow.storage import ArtifactStore, is_shard_key, read_shard_keys
from idealflow.workflow.frames.encode import labelled_atoms, with_core_forces

__all__ = ["Draw", "Ledger", "fetch_structures"]

#: how a replay is drawn: with p ∝ MAE_E + MAE_F + 0.1 MAE_S, or every structure alike
Draw = Literal["errors", "uniform"]


@dataclass
class Ledger:
    """List of what the force field was trained on: keys and errors, without the structures themselves.

    Attributes
    ----------
    keys
        Request key of each label, or ``dataset:<path>:<sha256>:<size>:<index>`` for a structure of a dataset file.
    errors
        Cached errors, (n, 3): energy eV/atom, forces eV/Å, stress eV/Å³ (NaN where there is none).
    held_out
        True for structures kept out of training, for validation.
    left_out
        Request keys of labels that were learned and that training must not use any more: they are another method's, or were made
        without vacuum.
    waiting
        Request keys of labels that an update refused to learn; the next consolidation learns those by the present method with all
        others.

    Examples
    --------
    >>> import numpy as np
    >>> ledger = Ledger()
    >>> ledger.add(["a", "b"], np.array([[0.01, 0.2, 0.0], [0.02, 0.1, 0.0]]), held_out=[False, True])
    >>> ledger.replay(5, np.random.default_rng(0)), len(ledger)
    (['a'], 2)
    """

    keys: list[str] = field(default_factory=list)
    errors: list[list[float]] = field(default_factory=list)
    held_out: list[bool] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: Sequence[str], errors: np.ndarray, *, held_out: Sequence[bool] | None = None) -> None:
        """Append structures with their current errors; of those that are there already the errors are renewed."""
        known = set(self.keys)
        new = [n for n, key in enumerate(keys) if key not in known]
        self.keys.extend(keys[n] for n in new)
        self.errors.extend(np.asarray(errors, dtype=float)[new].tolist())
        self.held_out.extend(held_out[n] if held_out is not None else False for n in new)
        again = [n for n, key in enumerate(keys) if key in known]
        if again:
            self.refresh([keys[n] for n in again], np.asarray(errors)[again])

    def learn_waiting(self, keys: Sequence[str]) -> None:
        """Append labels that were waiting, with errors that are not known yet.

        Examples
        --------
        >>> ledger = Ledger(waiting=["a", "b"])
        >>> ledger.learn_waiting(["a"])
        >>> ledger.keys, ledger.waiting
        (['a'], ['b'])
        """
        self.add(keys, np.full((len(keys), 3), np.nan))
        self.forget_waiting(keys)

    def wait(self, keys: Iterable[str]) -> None:
        """Let labels wait that an update refused to learn; those that were learned before are known already.

        Examples
        --------
        >>> ledger = Ledger(keys=["a"])
        >>> ledger.wait(["a", "b"])
        >>> ledger.waiting
        ['b']
        """
        known = {*self.keys, *self.waiting}
        self.waiting += [key for key in dict.fromkeys(keys) if key not in known]

    def forget_waiting(self, keys: Iterable[str]) -> None:
        """Let labels wait no longer, where they did: the same cells were asked for again."""
        gone = set(keys)
        self.waiting = [key for key in self.waiting if key not in gone]

    def errors_of(self, *, held_out: bool) -> np.ndarray:
        """Cached errors (n, 3) of the structures held out, or of those trained on."""
        rows = [error for error, held in zip(self.errors, self.held_out, strict=True) if held == held_out]
        return np.array(rows, dtype=float).reshape(-1, 3)

    def refresh(self, keys: Sequence[str], errors: np.ndarray) -> None:
        """Replace the cached errors of structures that were just evaluated again."""
        rows = {key: row for row, key in enumerate(self.keys)}
        for key, error in zip(keys, np.asarray(errors, dtype=float).tolist(), strict=True):
            self.errors[rows[key]] = error

    @property
    def training_keys(self) -> list[str]:
        """Keys of the structures that are trained on."""
        return [key for key, held in zip(self.keys, self.held_out, strict=True) if not held]

    def replay(self, size: int, rng: np.random.Generator, by: Draw = "errors") -> list[str]:
        """Draw ``size`` training structures, by their errors (eV/atom, eV/Å, eV/Å³) or alike; returns their keys."""
        rows = np.flatnonzero(~np.asarray(self.held_out, dtype=bool))
        if rows.size == 0:
            return []
        size = min(size, rows.size)
        if by == "uniform":
            return [self.keys[rows[i]] for i in rng.choice(rows.size, size, replace=False)]
        chosen = draw_replay(np.asarray(self.errors)[rows], size, rng)
        return [self.keys[rows[i]] for i in chosen]

    def validation(self, size: int, rng: np.random.Generator, exclude: Iterable[str]) -> list[str]:
        """Draw keys of a validation set for one update: at most ``size`` held-out structures and as many learned ones."""
        excluded = set(exclude)
        roles = np.asarray(self.held_out, dtype=bool)
        picked: list[str] = []
        for role in (True, False):
            pool = [self.keys[i] for i in np.flatnonzero(roles == role) if self.keys[i] not in excluded]
            picked += (
                [pool[i] for i in sorted(rng.choice(len(pool), min(size, len(pool)), replace=False))] if pool else []
            )
        return picked

    def save(self, store: ArtifactStore) -> Artifact:
        """Store as an artifact."""
        data: dict[str, Any] = {"format": 1, "keys": self.keys, "errors": self.errors, "held_out": self.held_out}
        data |= {name: kept for name, kept in (("left_out", self.left_out), ("waiting", self.waiting)) if kept}
        return store.put_bytes(json.dumps(data).encode(), suffix=".json")

    @classmethod
    def load(cls, store: ArtifactStore, artifact: Artifact) -> Ledger:
        """Read an artifact back.

        Raises
        ------
        ArtifactError
            If the file is no ledger.
        """
        path = store.get(artifact)
        data = json.loads(path.read_text())
        if data.pop("format", None) != 1:
            raise ArtifactError(f"{path} is no replay ledger of format 1")
        ledger = cls(**data)
        ledger.waiting = []
        ledger.wait(data.get("waiting", ()))  # before, a cell that was asked for again could be learned and wait, too
        return ledger


def fetch_structures(
    store: JobStore, artifacts: ArtifactStore, keys: Sequence[str], *, core_forces: bool = False
) -> list[Atoms]:
    """Read the labelled structures of some ledger keys, in the order of the keys.

    Parameters
    ----------
    store, artifacts
        Where labels are, and where structures of datasets are.
    keys
        Keys of a :class:`Ledger`.
    core_forces
        Let the forces of a substructure count on its core alone (:func:`~idealflow.workflow.frames.encode.with_core_forces`).

    Raises
    ------
    CampaignError
        If a label is no longer in the store.

    Examples
    --------
    >>> from maggma.stores import MemoryStore
    >>> store = JobStore(MemoryStore())
    >>> store.connect()
    >>> fetch_structures(store, ArtifactStore("artifacts"), ["w0000/s0"])
    Traceback (most recent call last):
    idealflow.errors.CampaignError: 1 training labels are not in the store, first w0000/s0; restore the store
    """
    wanted = [key for key in keys if not is_shard_key(key)]
    found = read_shard_keys(artifacts, keys, core_forces=core_forces)
    if wanted:
        query = {"output.request_key": {"$in": wanted}, "output.state": "accepted"}
        # in campaigns of before another cell of the same place has the same key; the one of the later round was learned
        for entry in store.query(query, properties=["output"], load=True, sort={"output.round": 1}):
            output = entry["output"]
            fields = {name: value for name, value in output.items() if name in LabelledDoc.model_fields}
            doc = LabelledDoc.model_validate(fields | {"kind": "label"})
            found[doc.request_key] = labelled_atoms(doc)
            core = _core(store, output) if core_forces else None
            if core is not None:
                with_core_forces(found[doc.request_key], core)
    lost = [key for key in keys if key not in found]
    if lost:
        raise CampaignError(f"{len(lost)} training labels are not in the store, first {lost[0]}; restore the store")
    return [found[key] for key in keys]


def _core(store: JobStore, output: Mapping[str, Any]) -> list[int] | None:
    """Core of a labelled substructure; of a label that was made again, that of the one it replaces; None of any other label."""
    while "core" not in output and output.get("replaces"):
        query = {"output.request_key": output["replaces"], "output.state": "accepted"}
        before = store.query_one(query, properties=["output.core", "output.replaces"], sort={"output.round": -1})
        output = {} if before is None else before["output"]
    return output.get("core")
