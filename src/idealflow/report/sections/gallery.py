"""The gallery: every substructure's figures and coordinates, packed for the page; which of them are told whole."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idealflow.errors import ArtifactError
from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import numbers

__all__ = ["Errors", "Packing", "gallery_rows", "learned_errors", "most_telling", "packed_json"]

#: positions are whole numbers of this length, Å
PRECISION = 0.01
_FIELDS = (
    "uuid", "request_key", "walker", "step", "atom", "round", "attempt", "species", "state", "cause", "uncertainty",
    "shell_uncertainty", "n_atoms", "seconds", "energy", "model_version",
)  # fmt: skip

Rows = list[dict[str, Any]]
Errors = dict[str, tuple[float, float]]


def gallery_rows(campaign: Campaign) -> Rows:
    """Figures of every substructure in order of request, without its coordinates, and its force error before it was learned.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> row = gallery_rows(sample_campaign())[0]
    >>> row["step"], row["n_atoms"], round(row["force_error"], 3)
    (40, 78, 0.096)
    """
    rows = campaign.outputs("substructure", _FIELDS)
    errors: dict[str, float] = {}
    for update in campaign.outputs("update", ("accepted", "centre_force_errors")):
        if stored := update.get("centre_force_errors"):
            errors |= dict(zip(update["accepted"], stored, strict=True))
    for row in rows:
        row["force_error"] = errors.get(row["request_key"])
    return sorted(rows, key=lambda row: str(row["request_key"]))


def columns(rows: Rows, after: Errors) -> dict[str, Any]:
    """The rows as packed columns; ``after`` has the last known errors by request key.

    Examples
    --------
    >>> sorted(columns([], {}))[:4]
    ['after', 'atom', 'attempt', 'cause']
    """
    found: dict[str, Any] = {
        name: numbers([row[name] for row in rows], "i4")
        for name in ("walker", "step", "atom", "round", "attempt", "n_atoms", "model_version")
    }  # fmt: skip
    for name in ("uncertainty", "shell_uncertainty", "seconds", "force_error"):
        found[name] = numbers([np.nan if row[name] is None else row[name] for row in rows])
    found["after"] = numbers([after.get(row["request_key"], (np.nan, np.nan))[1] for row in rows])
    per_atom = [np.nan if row["energy"] is None else row["energy"] / row["n_atoms"] for row in rows]
    found["energy"] = numbers(per_atom)
    found["failed"] = numbers([row["state"] == "failed" for row in rows], "u1")
    found["species"] = [row["species"] for row in rows]
    found["uuid"] = [row["uuid"] for row in rows]
    found["cause"] = {str(i): row["cause"] for i, row in enumerate(rows) if row["cause"]}
    return found


def learned_errors(campaign: Campaign) -> Errors:
    """Energy (eV/atom) and force errors (eV/Å) of learned labels as the learner last computed them, by request key.

    Empty where its file is not there to be read.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> len(learned_errors(sample_campaign()))
    13
    """
    state = campaign.state()
    if state is None or state.learner is None:
        return {}
    try:
        ledger = json.loads(campaign.fetch(state.learner.ledger).read_text())
    except ArtifactError:
        return {}  # the page then says that they are not known
    return {key: (error[0], error[1]) for key, error in zip(ledger["keys"], ledger["errors"], strict=True)}


def most_telling(rows: Rows, most: int) -> list[int]:
    """Choose the substructures that tell most: failed ones, the most wrong before learning, the most uncertain, the last.

    Returns
    -------
    list of int
        At most ``most`` indices of rows, in order.

    Examples
    --------
    >>> rows = [{"state": "accepted", "uncertainty": u, "force_error": 0.1} for u in (3.0, 9.0, 5.0)]
    >>> most_telling(rows, most=2)
    [0, 1]
    """
    if len(rows) <= most:
        return list(range(len(rows)))
    order = np.arange(len(rows))
    wrong = np.array([-np.inf if row["force_error"] is None else row["force_error"] for row in rows])
    uncertain = np.array([row["uncertainty"] for row in rows], dtype=float)
    failed = np.array([row["state"] == "failed" for row in rows])
    # each reason has its turn: the first of every list, then the second, ...
    lists = [order[failed], np.argsort(-uncertain, kind="stable"), np.argsort(-wrong, kind="stable"), order[::-1]]
    chosen: dict[int, None] = {}
    for place in range(len(rows)):
        for some in lists:
            if place < len(some) and len(chosen) < most:
                chosen.setdefault(int(some[place]))
        if len(chosen) == most:
            break
    return sorted(chosen)


def packed_json(value: Any) -> str:
    """Compress a value that JSON can hold: zlib, then base64.

    Examples
    --------
    >>> len(packed_json({"trace": [1.0] * 1000})) < 100
    True
    """
    return _compressed(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())


class Packing:
    """Packs the coordinates of many substructures: whole hundredths of an Å from the centre, high and low bytes apart.

    So packed, a substructure of 148 atoms takes about 1 kB. Documents are read one after the other: memory holds the packed form.

    Parameters
    ----------
    uuids
        Jobs of the substructures, in the order of the page's rows.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> packing = Packing([row["uuid"] for row in gallery_rows(campaign)])
    >>> packing.read(campaign)
    >>> packed = packing.as_json()
    >>> packed["precision"], packed["count"], packed["atoms"] == 78 + 75 + 86 + 88 + 73
    (0.01, 5, True)
    """

    def __init__(self, uuids: Iterable[str]) -> None:
        self._place = {uuid: i for i, uuid in enumerate(uuids)}
        n = len(self._place)
        self._positions: list[NDArray[np.int16] | None] = [None] * n
        self._numbers: list[bytes] = [b""] * n
        self._roles: list[bytes] = [b""] * n
        self._cells = np.zeros((n, 9), dtype="<f4")
        self._periodic = np.zeros(n, dtype=np.uint8)

    def read(self, campaign: Campaign) -> None:
        """Read and pack the structures of the campaign's substructures."""
        names = (
            "uuid",
            "structure.numbers",
            "structure.positions",
            "structure.cell",
            "structure.pbc",
            "core",
            "centre",
        )
        query = {"output.kind": "substructure", "output.campaign": campaign.name}
        for entry in campaign.store.query(query, properties=[f"output.{name}" for name in names]):
            output = entry["output"]
            if output.get("structure") and output["uuid"] in self._place:
                self.add(output)

    def add(self, output: dict[str, Any]) -> None:
        """Pack one substructure's stored fields."""
        i, structure = self._place[output["uuid"]], output["structure"]
        positions = np.asarray(structure["positions"], dtype=np.float64)
        centre = output["centre"]
        origin = positions.mean(axis=0) if centre is None else positions[centre]
        steps = np.rint((positions - origin) / PRECISION)
        self._positions[i] = np.clip(steps, -32768, 32767).astype("<i2")
        self._numbers[i] = np.asarray(structure["numbers"], dtype=np.uint8).tobytes()
        roles = np.zeros(len(positions), dtype=np.uint8)
        roles[output["core"]] = 1
        if centre is not None:
            roles[centre] = 2
        self._roles[i] = roles.tobytes()
        self._cells[i] = np.asarray(structure["cell"], dtype=np.float64).ravel()
        self._periodic[i] = sum(1 << axis for axis in range(3) if structure["pbc"][axis])

    def as_json(self) -> dict[str, Any]:
        """What was packed, as the page reads it."""
        whole = [part for part in self._positions if part is not None]
        steps = np.concatenate(whole) if whole else np.empty((0, 3), dtype="<i2")
        planes = steps.T.ravel().view(np.uint8).reshape(-1, 2)  # all x, then all y, then all z
        sizes = np.array([0 if part is None else len(part) for part in self._positions], dtype="<i4")
        blob = b"".join(
            (sizes.tobytes(), self._cells.tobytes(), planes[:, 1].tobytes(), planes[:, 0].tobytes(),
             b"".join(self._numbers), b"".join(self._roles), self._periodic.tobytes())
        )  # fmt: skip
        return {"count": len(sizes), "atoms": len(steps), "precision": PRECISION, "data": _compressed(blob)}


def _compressed(blob: bytes) -> str:
    return base64.b64encode(zlib.compress(blob, 9)).decode()
