"""From a frame to a labelled substructure: what MD, screen, crop search, relaxation and label leave."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from idealflow.schemas.base import Arrangement, Artifact, Document, OfWalker, StageOutput, StoredStructure

__all__ = [
    "CandidateFigures",
    "CentreDoc",
    "CropDoc",
    "RelaxationDoc",
    "ScreenDoc",
    "SegmentDoc",
]

#: how an environment is made small enough to label
Embedding = Literal["ides", "crop", "vacuum", "frame"]

#: an index that there may not be; earlier versions wrote -1 for none
Index = Annotated[int | None, BeforeValidator(lambda value: None if value == -1 else value)]


class OfFrame(OfWalker):
    """What belongs to one frame of one walker."""

    step: int = Field(description="MD step of the frame")


class MetInSegment(OfFrame):
    """What belongs to a frame that MD met."""

    segment_uuid: str = Field(description="job that ran the MD")
    model_version: int = Field(description="learner version in use, which asked for it")


class CentreOfFrame(MetInSegment):
    """What belongs to one atom that a screen chose."""

    atom: int = Field(description="index of the centre in the frame")
    species: str = Field(description="chemical symbol of the centre")
    screen_uuid: str = Field(description="job that screened the frame")
    embedding: Embedding = Field(description="ides, crop, vacuum or frame")


class AttemptAtCentre(CentreOfFrame):
    """What belongs to one cell around a centre: where it comes from, and which of its atoms stand as in the frame."""

    attempt: int = Field(description="which cell of the centre, best first, from 0")
    crop_uuid: str = Field(description="job that searched the crop")
    core: list[int] = Field(description="indices of the untouched core atoms")
    centre: Index = Field(description="index of the centre in `structure`; None without one")
    parent_indices: list[int] = Field(description="index in the frame of every atom")
    composition_error: float | None = Field(
        description="fraction of atoms that would have to change species to match the frame"
    )


class SegmentDoc(StageOutput, OfWalker):
    """One MD segment of one walker."""

    kind: Literal["segment"] = "segment"
    uuid: str = Field(description="job that made the document")
    model_version: int = Field(description="learner version in use")
    first_step: int = Field(description="MD step at its start")
    last_step: int = Field(description="MD step at its end")
    reason: Literal["triggered", "schedule_end", "segment_end", "wall_time", "blow_up"] = Field(
        description="why it ended"
    )
    detail: str = Field(default="", description="what blew up, with value and limit")
    start_state: Artifact = Field(description="exact MD state it started from")
    end_state: Artifact = Field(description="state of the last frame; the last good frame after a blow-up")
    frame: Artifact = Field(
        description="the screened frame: `end_state`, or after a blow-up the most uncertain since the last good one"
    )
    frame_step: int = Field(description="step of `frame`")
    trajectory: Artifact | None = Field(description="frames written while it ran (Trajectory); None where none were")
    log: dict[str, list[float]] = Field(
        description="columns of equal length: step, time_fs, temperature (K), target (K), potential_energy (eV), "
        "max_uncertainty (NaN where not screened)"
    )


class CentreDoc(Document):
    """One atom chosen for labelling."""

    atom: int = Field(description="index of the centre in the frame")
    species: str = Field(description="chemical symbol of the centre")
    uncertainty: float = Field(description="normalised uncertainty in the frame; 1 is the in-distribution mean")


class ScreenDoc(StageOutput, MetInSegment):
    """Atom-by-atom uncertainty of one frame and the centres chosen in it."""

    kind: Literal["screen"] = "screen"
    threshold: float = Field(description="normalised uncertainty above which an uncovered atom triggers")
    n_atoms: int = Field(description="atoms in the structure")
    n_uncertain: int = Field(description="atoms above the threshold, covered or not")
    n_triggering: int = Field(description="atoms above the threshold and uncovered")
    max_uncertainty: float = Field(description="highest of the frame")
    quantiles: dict[str, float] = Field(description="uncertainty at the 0.5, 0.9, 0.99 quantiles of the frame")
    centres: list[CentreDoc] = Field(description="atoms to label, most uncertain first")


class CandidateFigures(Document):
    """Figures of one candidate cell, kept whether or not it was chosen."""

    model_config = ConfigDict(extra="allow")  # the search may add figures without a change of the schema

    cell_kind: str = Field(description="how the cell was proposed: cartesian, parent, lattice, whole, vacuum")
    n_atoms: int = Field(description="atoms in the structure")
    refused: str | None = Field(default=None, description="why the candidate was refused, None if it stood")


class StoredCrop(Arrangement):
    """A whole crop, as :meth:`idealflow.core.Crop.to_dict` writes it; periodic in all directions."""

    core: list[int] = Field(description="indices of the untouched core atoms")
    parent_indices: list[int] = Field(description="index in the frame of every atom")
    centre: int = Field(description="index of the centre")
    in_frame: list[float] = Field(description="max(1, uncertainty in the frame) of every atom; 1 for hydrogen caps")
    values: list[float] = Field(description="uncertainty in the crop of every atom, normalised")
    composition_error: float = Field(
        description="fraction of atoms that would have to change species to match the frame"
    )
    min_contact: float = Field(description="smallest distance between two atoms, Å")
    kind: str = Field(description="how the cell was proposed: cartesian, parent, lattice, surface, whole, vacuum")
    axes: tuple[str, str, str] = Field(description="of each cell vector: periodic, kept or vacuum")
    limits: dict[str, float] = Field(description="pair of species → smallest distance allowed, Å")
    score: float = Field(description="what the search sorts by; lower is better")
    notes: dict[str, int | float] = Field(description="how the cell was made: atoms removed, added, margins enlarged")
    expected_volume: float | None = Field(
        default=None, description="Å³ that so many atoms fill in the frame; None beside empty space"
    )

    @model_validator(mode="before")
    @classmethod
    def _values_of_the_shell_were_not_kept(cls, data: object) -> object:
        """Early crops have ``reference``: the same for the core, 1 for the shell."""
        if isinstance(data, dict) and "reference" in data:
            return {"in_frame" if key == "reference" else key: value for key, value in data.items()}
        return data


class CropDoc(StageOutput, CentreOfFrame):
    """The crop search around one centre: all candidates' figures and the best few structures."""

    kind: Literal["crop"] = "crop"
    centre_uncertainty: float = Field(
        description="of the centre in the frame, normalised: 1 is the in-distribution mean"
    )
    seed: list[int] = Field(description="entropy of the search: campaign seed, walker, step, atom")
    candidates: list[CandidateFigures] = Field(description="every cell that was tried, refused ones with the reason")
    chosen: list[StoredCrop] = Field(description="best first, one per allowed attempt, whole")
    failure: str | None = Field(default=None, description="why no crop could be made, if so")


class RelaxedCrop(Document):
    """How the relaxation of one of a centre's crops ended."""

    crop_index: int = Field(description="which of the centre's kept crops, best first, from 0")
    n_atoms: int = Field(description="atoms of the crop")
    reason: str = Field(description="why the relaxation ended")
    n_steps: int = Field(description="evaluations of objective and gradient")
    uncertainty_before: float = Field(description="mean over the shell before, normalised")
    uncertainty_after: float = Field(description="mean over the shell after, normalised")
    core_worsening: float = Field(description="largest ratio of a core atom's uncertainty to its reference")


class RelaxationDoc(StageOutput, AttemptAtCentre):
    """The relaxation of a centre's crops on the uncertainty, and the one that came out best."""

    kind: Literal["relaxation"] = "relaxation"
    centre_uncertainty: float = Field(
        description="of the centre in the frame, normalised: 1 is the in-distribution mean"
    )
    structure: StoredStructure | None = Field(description="the substructure χ̃*; None if there is none to label")
    trace: list[float] = Field(description="objective at every step")
    reason: str = Field(description="why the relaxation ended")
    crop_index: Index = Field(
        description="which of the centre's kept crops it started from, best first; None without any"
    )
    tried: list[RelaxedCrop] = Field(description="every crop that was relaxed, best first; the next where one stalls")
    uncertainty_before: float | None = Field(description="mean over the shell before, normalised")
    uncertainty_after: float | None = Field(description="mean over the shell after, normalised")
    core_worsening: float | None = Field(description="largest ratio of a core atom's uncertainty to its reference")
