"""One substructure told whole: where its frame came from, all candidate cells, relaxation, label, what the model made of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from idealflow.errors import ArtifactError
from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import Block, figure, line, missing, table, written
from idealflow.report.sections.frames import load_frame
from idealflow.report.sections.gallery import PRECISION, Errors
from idealflow.report.wording import RELAXATION_ENDED, SEGMENT_ENDED, carried_words

__all__ = ["Lineages"]

_MOST_IN_FRAME = 1500  # atoms of the frame that are shown, the nearest to the centre
_KINDS = {
    "cartesian": "random box",
    "parent": "box along the frame's cell",
    "lattice": "along the local lattice",
    "interface": "across the interface",
    "surface": "along the surface",
    "cluster": "between lattice planes",
    "vacuum": "in vacuum",
    "whole": "the whole frame",
}
_SEGMENT = ("first_step", "last_step", "reason", "frame", "frame_step", "model_version")
_SCREEN = ("threshold", "n_atoms", "n_uncertain", "n_triggering", "max_uncertainty")
_RELAXATION = ("trace", "reason", "crop_index", "tried", "uncertainty_before", "uncertainty_after", "core_worsening")
_LABEL = (
    "uuid", "request_key", "walker", "step", "atom", "species", "attempt", "state", "cause", "uncertainty", "n_atoms",
    "n_electrons", "energy", "forces", "method", "seconds", "model_version", "core", "parent_indices", "reused_from",
    "segment_uuid", "screen_uuid", "crop_uuid", "relaxation_uuid", "structure.charge", "structure.spin", "structure.moments",
)  # fmt: skip
_UPDATE = (
    "round",
    "version_after",
    "learned",
    "replayed",
    "new_before",
    "new_after",
    "accepted",
    "centre_force_errors",
)


class Lineages:
    """Tells substructures of one campaign whole; what many of them share is read once.

    Parameters
    ----------
    campaign
        The campaign.
    errors
        Last known errors of learned labels, from :func:`idealflow.report.sections.gallery.learned_errors`.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> told = Lineages(campaign, {}).of(campaign.substructures()[0].uuid)
    >>> [block["title"] for block in told["blocks"] if "title" in block][:4]
    ['From the frame to the model', 'Candidate cells', 'Relaxation', 'Its place in the frame']
    """

    def __init__(self, campaign: Campaign, errors: Errors) -> None:
        self._campaign = campaign
        self._errors = errors
        self._learned: dict[str, dict[str, Any]] = {}
        self._before: dict[str, float] = {}
        self._replayed: dict[str, list[int]] = {}
        for update in campaign.outputs("update", _UPDATE):
            self._learned |= dict.fromkeys(update["learned"], update)
            if stored := update.get("centre_force_errors"):
                self._before |= dict(zip(update["accepted"], stored, strict=True))
            for key in update["replayed"]:
                self._replayed.setdefault(key, []).append(update["version_after"])
        for consolidation in campaign.outputs("consolidation", ("round", "version_after", "learned")):
            self._learned |= dict.fromkeys(consolidation.get("learned") or (), consolidation)
        self._frame: tuple[str, Atoms] | None = None

    def of(self, uuid: str) -> dict[str, Any]:
        """Tell one substructure, as blocks and its surroundings in the frame.

        Raises
        ------
        LookupError
            If the campaign has no such substructure.
        """
        found = self._campaign.outputs("substructure", _LABEL, uuid=uuid)
        if not found:
            raise LookupError(f"campaign {self._campaign.name} has no substructure {uuid}")
        label = found[0]
        segment, screen, crop, relaxation = (
            next(iter(self._campaign.outputs(kind, names, uuid=label[f"{kind}_uuid"])), None)
            for kind, names in (
                ("segment", _SEGMENT),
                ("screen", _SCREEN),
                ("crop", ("candidates", "failure")),
                ("relaxation", _RELAXATION),
            )
        )
        blocks = [
            {
                "kind": "steps",
                "title": "From the frame to the model",
                "items": self._steps(label, segment, screen, relaxation),
            },
            _candidates(crop),
            _relaxation(label["uuid"], relaxation),
        ]
        place, why = self._place(label, segment)
        if why is not None:
            blocks.append(why)
        return {"blocks": blocks, "frame": place}

    def _steps(
        self,
        label: dict[str, Any],
        segment: dict[str, Any] | None,
        screen: dict[str, Any] | None,
        relaxation: dict[str, Any] | None,
    ) -> list[list[str]]:
        """The way of the substructure, as (stage, sentence)."""
        steps = []
        if segment:
            ended = SEGMENT_ENDED.get(segment["reason"], segment["reason"])
            steps.append([
                "dynamics",
                f"walker {label['walker']}, steps {segment['first_step']} to {segment['last_step']} with model version "
                f"{segment['model_version']}; it ended because {ended}",
            ])  # fmt: skip
        if screen:
            steps.append([
                "screen",
                f"{screen['n_uncertain']} of {screen['n_atoms']} atoms were over the threshold {written(screen['threshold'])}, "
                f"{screen['n_triggering']} of them uncovered; atom {label['atom']} ({label['species']}) had "
                f"{written(label['uncertainty'])}",
            ])  # fmt: skip
        if relaxation and relaxation["uncertainty_before"] is not None:
            ended = RELAXATION_ENDED.get(relaxation["reason"], relaxation["reason"])
            steps.append([
                "relaxation",
                f"mean uncertainty of the shell {written(relaxation['uncertainty_before'])} → "
                f"{written(relaxation['uncertainty_after'])}; "
                f"it ended because {ended}; {_worsened(relaxation['core_worsening'])}",
            ])  # fmt: skip
        if carried := carried_words(label.get("structure") or {}):
            steps.append(["charge and spin", carried])
        return [*steps, ["label", _label(label)], *self._model(label)]

    def _model(self, label: dict[str, Any]) -> list[list[str]]:
        key, told = label["request_key"], []
        if key in self._before:
            told.append(["error before", f"{1e3 * self._before[key]:.0f} meV/Å at the centre, by the version that asked, "
                         f"{label['model_version']}"])  # fmt: skip
        update = self._learned.get(key)
        if update is None:
            return [
                *told,
                ["model", "no version learned it" if label["state"] == "failed" else "no version has learned it yet"],
            ]
        sentence = f"learned in round {update['round']} by version {update['version_after']}"
        if update.get("new_before") and update.get("new_after"):
            before, after = (1e3 * update[name]["forces"] for name in ("new_before", "new_after"))
            sentence += (
                f", which brought the force error on the round's new labels from {before:.0f} to {after:.0f} meV/Å"
            )
        told.append(["model", sentence])
        if replayed := sorted(self._replayed.get(key, [])):
            versions = ", ".join(map(str, replayed[:12])) + (" …" if len(replayed) > 12 else "")
            told.append(["replayed", f"{len(replayed)} times, for versions {versions}"])
        if key in self._errors:
            energy, forces = self._errors[key]
            told.append(
                [
                    "error after",
                    f"{1e3 * energy:.2g} meV/atom and {1e3 * forces:.0f} meV/Å over all its atoms, as last computed",
                ]
            )
        return told

    def _place(
        self, label: dict[str, Any], segment: dict[str, Any] | None
    ) -> tuple[dict[str, Any] | None, Block | None]:
        title = "Its place in the frame"
        if segment is None:
            return None, missing(title, "The document of the segment that met the frame is not in the store.")
        try:
            frame = self._loaded(segment["frame"])
        except ArtifactError as error:
            return None, missing(title, f"The frame's file cannot be read: {error}.")
        parents = np.asarray(label["parent_indices"], dtype=int)
        own = parents[(parents >= 0) & (parents < len(frame))]
        core = np.intersect1d(own, parents[np.asarray(label["core"], dtype=int)])
        return _surroundings(frame, int(label["atom"]), own, core), None

    def _loaded(self, stored: dict[str, Any]) -> Atoms:
        if self._frame is None or self._frame[0] != stored["sha256"]:
            self._frame = stored["sha256"], load_frame(self._campaign, stored)
        return self._frame[1]


def _surroundings(frame: Atoms, centre: int, own: NDArray[np.int64], core: NDArray[np.int64]) -> dict[str, Any]:
    """Atoms of the frame around the centre: 0 others, 1 shell, 2 core, 3 centre; positions in 0.01 Å from the centre."""
    vectors = frame.get_distances(centre, np.arange(len(frame)), mic=True, vector=True)
    nearest = np.argsort((vectors**2).sum(axis=1), kind="stable")[:_MOST_IN_FRAME]
    roles = np.zeros(len(frame), dtype=int)
    roles[own], roles[core], roles[centre] = 1, 2, 3
    return {
        "numbers": frame.numbers[nearest].tolist(),
        "positions": np.rint(vectors[nearest] / PRECISION).astype(int).ravel().tolist(),
        "roles": roles[nearest].tolist(),
        "whole": len(frame),
        "precision": PRECISION,
    }


def _worsened(worsening: float) -> str:
    """What became of the core's uncertainty, whose largest ratio to that in the frame is ``worsening``."""
    if worsening < 1.005:
        return "no core atom is less known than in the frame"
    return f"no core atom got worse than {written(worsening)} times its value in the frame"


def _label(label: dict[str, Any]) -> str:
    if label["state"] == "awaited":
        return f"awaited from outside, by {label['method']}"
    if label["state"] == "failed":
        return f"attempt {label['attempt'] + 1} failed: {label['cause']}"
    size = float(np.abs(np.asarray(label["forces"])).max())
    sentence = (
        f"{label['method']}: {label['n_atoms']} atoms, {label['n_electrons']} electrons, "
        f"{label['energy'] / label['n_atoms']:.4f} eV/atom, "
        f"largest force component {size:.3g} eV/Å, {written(label['seconds'])} s"
    )
    return sentence + (" (taken from an earlier label of the same structure)" if label["reused_from"] else "")


def _candidates(crop: dict[str, Any] | None) -> Block:
    title = "Candidate cells"
    if crop is None or not crop["candidates"]:
        return missing(title, "None is stored: the frame was labelled whole, or the search found none.")
    columns = [
        ("cell", "how it was proposed"),
        ("atoms", ""),
        ("uncertainty", "mean over the shell before relaxation; 1 is known"),
        ("core worse by", "largest ratio of a core atom's uncertainty to its value in the frame"),
        ("composition error", "share of atoms that would have to change species to match the frame"),
        ("closest contact (Å)", "smallest distance between two atoms"),
        ("score", "what the search sorts by; lower is better"),
        ("refused", "why it was refused, if it was"),
    ]
    names = ("n_atoms", "uncertainty", "core_worsening", "composition_error", "min_contact", "score", "refused")
    rows = [
        [_KINDS.get(one["cell_kind"], one["cell_kind"]), *(_plain(one.get(name)) for name in names)]
        for one in _best_first(crop["candidates"])
    ]
    hint = f"All {len(rows)} cells that were tried around this atom, best first."
    return table(title, hint, columns, rows) | {"folded": True}


def _best_first(candidates: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(candidates, key=lambda one: (one.get("refused") is not None, one.get("score") or 0.0))


def _relaxation(uuid: str, relaxation: dict[str, Any] | None) -> Block:
    title = "Relaxation"
    if relaxation is None or len(relaxation["trace"]) < 2:
        nothing = relaxation is None or not relaxation["trace"]
        return missing(
            title, "Nothing was relaxed." if nothing else "It ended with its first step: there is no trace to draw."
        )
    trace = line(range(len(relaxation["trace"])), relaxation["trace"], "objective", "@blue") | {
        "mode": "lines+markers",
        "marker": {"size": 4},
    }
    hint = "What the relaxation makes small: the mean over atoms of log(1 + uncertainty in excess of what is allowed)."
    if len(relaxation["tried"]) > 1:
        hint += f" {len(relaxation['tried'])} crops were relaxed; this is the best."
    return figure(f"trace-{uuid}", title, hint, [trace], "step", "objective", yaxis={"rangemode": "tozero"}, height=220)


def _plain(value: Any) -> Any:
    return "–" if value is None else value
