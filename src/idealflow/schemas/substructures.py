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
    "UnknownAtoms",
]

#: how an environment is made small enough to label
Embedding = Literal["ides", "crop", "vacuum", "frame"]

#: an index, or None; earlier versions wrote -1 in place of None
Index = Annotated[int | None, BeforeValidator(lambda value: None if value == -1 else value)]


class OfFrame(OfWalker):
    """Base of documents that belong to one frame of one walker."""

    step: int = Field(description="MD step of the frame")


class MetInSegment(OfFrame):
    """Base of documents about a frame that MD came to."""

    segment_uuid: str = Field(description="job that ran the MD")
    model_version: int = Field(description="learner version in use, which asked for it")


class CentreOfFrame(MetInSegment):
    """Base of documents about one atom that a screen chose."""

    atom: int = Field(description="index of the centre in the frame")
    species: str = Field(description="chemical symbol of the centre")
    screen_uuid: str = Field(description="job that screened the frame")
    embedding: Embedding = Field(description="ides, crop, vacuum or frame")


class AttemptAtCentre(CentreOfFrame):
    """Base of documents about one cell around a centre: where it comes from, and which of its atoms are as in the frame."""

    attempt: int = Field(description="which cell of the centre, best first, from 0")
    crop_uuid: str = Field(description="job that searched the crop")
    core: list[int] = Field(description="indices of the untouched core atoms")
    centre: Index = Field(description="index of the centre in `structure`; None without one")
    parent_indices: list[int] = Field(description="index in the frame of every atom")
    composition_error: float | None = Field(
        description="fraction of atoms that would have to change species to match the frame"
    )


#: words of :meth:`UnknownAtoms.told` by which it is known
UNLIKE = "unlike anything the model has learned"


class UnknownAtoms(Document):
    """Atoms of a frame that are unlike anything the model has learned, in a campaign that does not learn.

    Examples
    --------
    >>> found = UnknownAtoms(n_atoms=37, of=107, max_uncertainty=41.2, threshold=15.3)
    >>> found.told(walker=0, step=500)
    'walker 0, step 500: 37 of 107 atoms are unlike anything the model has learned, highest uncertainty 41.2 of 15.3; nothing is \
labelled without learning, and what the model says of them is a guess'
    """

    n_atoms: int = Field(description="uncovered atoms above the threshold")
    of: int = Field(description="atoms in the frame")
    max_uncertainty: float = Field(description="highest of the frame")
    threshold: float = Field(description="of the model's campaign")

    def told(self, walker: int, step: int) -> str:
        """Say it in a sentence; ``walker`` and ``step`` are the frame's."""
        return (
            f"walker {walker}, step {step}: {self.n_atoms} of {self.of} atoms are {UNLIKE}, highest uncertainty "
            f"{self.max_uncertainty:.1f} of {self.threshold:.1f}; nothing is labelled without learning, and what the model says "
            "of them is a guess"
        )


class SegmentDoc(StageOutput, OfWalker):
    """One MD segment of one walker: where it began and ended, why it ended, and its log.

    Examples
    --------
    The second segment stopped at the frame in which an atom first triggered:

    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> segment = campaign.segments()[1]
    >>> segment.first_step, segment.last_step, segment.reason
    (20, 40, 'triggered')
    >>> segment.log["step"]
    [20.0, 25.0, 30.0, 35.0, 40.0]
    >>> segment.log["max_uncertainty"][-1] > campaign.state().threshold
    True
    """

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
        description="the screened frame: `end_state`, or after a blow-up the one before the largest force, or that with it"
    )
    frame_step: int = Field(description="step of `frame`")
    pulled: int | None = Field(
        default=None, description="after a blow-up: the atom that had the largest force since the last good frame"
    )
    screened: Artifact | None = Field(
        default=None,
        description="uncertainties of all atoms of `frame`, and which of them trigger, as its last check found them; None "
        "after a blow-up, without a check, and in documents of earlier versions",
    )
    trajectory: Artifact | None = Field(description="frames written while it ran (Trajectory); None where none were")
    unknown: UnknownAtoms | None = Field(
        default=None,
        description="what is new in its last frame, in a campaign that does not learn; None where nothing is, or it learns",
    )
    log: dict[str, list[float]] = Field(
        description="columns of equal length: step, time_fs, temperature (K), target (K), potential_energy (eV), "
        "max_uncertainty (NaN where not screened), volume (Å³, NaN where not periodic), pressure (eV/Å³, NaN where the force "
        "field gives no stress); campaigns of earlier versions lack the last two. No row of a first frame that triggered"
    )


class CentreDoc(Document):
    """One atom chosen for labelling.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> for centre in sample_campaign().screens(step=50)[0].centres:
    ...     print(centre.atom, centre.species, round(centre.uncertainty, 1))
    31 Cu 40.9
    95 Cu 27.0
    """

    atom: int = Field(description="index of the centre in the frame")
    species: str = Field(description="chemical symbol of the centre")
    uncertainty: float = Field(description="normalised uncertainty in the frame; 1 is the in-distribution mean")


class ScreenDoc(StageOutput, MetInSegment):
    """The uncertainty of all atoms of one frame, as counts and quantiles, and the centres chosen among them.

    Examples
    --------
    Of four atoms above the threshold two were covered by what had been learned at step 40; the other two became centres:

    >>> from idealflow.provenance import sample_campaign
    >>> screen = sample_campaign().screens(step=50)[0]
    >>> screen.n_atoms, screen.n_uncertain, screen.n_triggering, [centre.atom for centre in screen.centres]
    (107, 4, 2, [31, 95])
    """

    kind: Literal["screen"] = "screen"
    threshold: float = Field(description="normalised uncertainty above which an uncovered atom triggers")
    n_atoms: int = Field(description="atoms in the structure")
    n_uncertain: int = Field(description="atoms above the threshold, covered or not")
    n_triggering: int = Field(description="atoms above the threshold and uncovered")
    max_uncertainty: float = Field(description="highest of the frame")
    quantiles: dict[str, float] = Field(description="uncertainty at the 0.5, 0.9, 0.99 quantiles of the frame")
    centres: list[CentreDoc] = Field(description="atoms to label, most uncertain first")


class CandidateFigures(Document):
    """Figures of one candidate cell, kept whether or not it was chosen.

    The search adds figures of its own, such as ``score`` and ``min_contact`` (Å); unlike other documents this one takes any key.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> for one in campaign.lineage(campaign.substructures()[0].uuid).crop.candidates:
    ...     print(one.cell_kind, one.n_atoms, one.refused, round(one.min_contact, 2))
    lattice 78 None 2.3
    cartesian 57 None 1.99
    cartesian 57 None 2.0
    """

    model_config = ConfigDict(extra="allow")  # the search may add figures without a change of the schema

    cell_kind: str = Field(
        description="how the cell was proposed: cartesian, parent, lattice, interface, surface, cluster, whole, vacuum"
    )
    n_atoms: int = Field(description="atoms in the structure")
    refused: str | None = Field(default=None, description="why the candidate was refused, None if it stood")


class StoredCrop(Arrangement):
    """A crop as :meth:`idealflow.core.Crop.to_dict` writes it, from which it can be relaxed; periodic in all directions."""

    core: list[int] = Field(description="indices of the untouched core atoms")
    parent_indices: list[int] = Field(description="index in the frame of every atom")
    centre: int = Field(description="index of the centre")
    in_frame: list[float] = Field(description="max(1, uncertainty in the frame) of every atom; 1 for hydrogen caps")
    values: list[float] = Field(description="uncertainty in the crop of every atom, normalised")
    composition_error: float = Field(
        description="fraction of atoms that would have to change species to match the frame, or what lies around the centre"
    )
    min_contact: float = Field(description="smallest distance between two atoms, Å")
    kind: str = Field(
        description="how the cell was proposed: cartesian, parent, lattice, interface, surface, cluster, whole, vacuum"
    )
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
        """Accept crops of early versions, whose ``reference`` is ``in_frame`` of the core, and 1 for the shell."""
        if isinstance(data, dict) and "reference" in data:
            return {"in_frame" if key == "reference" else key: value for key, value in data.items()}
        return data


class CropDoc(StageOutput, CentreOfFrame):
    """The crop search around one centre: figures of all candidates, and the best few cells whole.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> crop = campaign.lineage(campaign.substructures()[0].uuid).crop
    >>> len(crop.candidates), len(crop.chosen), crop.failure
    (3, 3, None)
    >>> from idealflow.core import Crop
    >>> best = Crop.from_dict(crop.chosen[0].model_dump())
    >>> len(best.atoms), int(best.core.sum()), int(best.parent_indices[best.centre]) == crop.atom
    (78, 18, True)
    """

    kind: Literal["crop"] = "crop"
    centre_uncertainty: float = Field(
        description="of the centre in the frame, normalised: 1 is the in-distribution mean"
    )
    seed: list[int] = Field(description="entropy of the search: campaign seed, walker, step, atom")
    candidates: list[CandidateFigures] = Field(description="every cell that was tried, refused ones with the reason")
    chosen: list[StoredCrop] = Field(description="best first, one per allowed attempt, whole")
    failure: str | None = Field(default=None, description="why no crop could be made, if so")


class RelaxedCrop(Document):
    """How the relaxation of one crop of a centre ended."""

    crop_index: int = Field(description="which of the centre's kept crops, best first, from 0")
    n_atoms: int = Field(description="atoms of the crop")
    reason: str = Field(description="why the relaxation ended")
    n_steps: int = Field(description="evaluations of objective and gradient")
    uncertainty_before: float = Field(description="mean over the shell before, normalised")
    uncertainty_after: float = Field(description="mean over the shell after, normalised")
    core_worsening: float = Field(description="largest ratio of a core atom's uncertainty to its reference")


class RelaxationDoc(StageOutput, AttemptAtCentre):
    """The relaxation of a centre's crops on the uncertainty, and the cell that came out best.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> relaxed = campaign.lineage(campaign.substructures()[0].uuid).relaxation
    >>> print(f"uncertainty of the shell: {relaxed.uncertainty_before:.1f} → {relaxed.uncertainty_after:.1f}")
    uncertainty of the shell: 4.4 → 1.9
    >>> relaxed.reason, len(relaxed.trace), len(relaxed.structure.numbers)
    ('steps', 5, 78)
    """

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
