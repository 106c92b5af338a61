"""Labels: energy, forces and stress of a structure by the reference, or why there are none."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from idealflow.schemas.base import Artifact, InRound, StoredStructure
from idealflow.schemas.substructures import AttemptAtCentre

__all__ = ["LabelledDoc", "SubstructureDoc"]

#: what a label is for
Origin = Literal["bootstrap", "check", "evaluation", "relabelled", "substructure"]


class LabelledDoc(InRound):
    """A structure with its label, or with the cause why it has none.

    The label is energy (eV), forces (n_atoms, 3; eV/Å) and, where the reference gives one, stress (6; eV/Å³, sign and
    order of ASE).

    Examples
    --------
    The first label of the bootstrap, and its structure as the training set holds it:

    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> doc = campaign.labels(origin="bootstrap")[0]
    >>> doc.request_key, doc.state, doc.method
    ('tiny/bootstrap/000000', 'accepted', 'EMT (stands in for DFT)')
    >>> from idealflow.workflow.frames.encode import labelled_atoms
    >>> labelled_atoms(doc).get_potential_energy() == doc.energy
    True
    """

    kind: Literal["label"] = "label"
    origin: Origin = Field(description="what the label is for; `check`: to compare a dataset with the labeller")
    replaces: str | None = Field(
        default=None, description="request key of the label of another method in whose place training uses it"
    )
    request_key: str = Field(
        description="campaign, walker, step, parent atom, attempt: who asked; and the round where another had a label"
    )
    geometry_key: Annotated[str | None, BeforeValidator(lambda key: key or None)] = Field(
        description="hash of coordinates, cell, species and label settings: what was asked; None if there was nothing to label"
    )
    labeller_key: str = Field(description="hash of the label settings")
    state: Literal["accepted", "failed", "awaited"] = Field(
        description="whether there is a label; `awaited`: one is to be brought from outside"
    )
    cause: str | None = Field(default=None, description="why the label failed")
    structure: StoredStructure | None = Field(description="what was labelled; None if there was nothing to label")
    energy: float | None = Field(default=None, description="eV")
    forces: list[list[float]] | None = Field(default=None, description="(n_atoms, 3), eV/Å")
    stress: list[float] | None = Field(default=None, description="(6,), eV/Å³, ASE's sign and Voigt order")
    method: str = Field(description="the reference; stand-ins for DFT are named as such")
    n_atoms: int = Field(description="atoms in the structure")
    n_electrons: int | None = Field(
        default=None, description="all electrons of the neutral atoms; None if there was nothing to label"
    )
    n_valence_electrons: float | None = Field(
        default=None, description="electrons the reference treated; None for one that has none or does not say"
    )
    seconds: float = Field(description="wall time of the label, of the original one if it was reused")
    core_seconds: float | None = Field(
        default=None,
        description="processor time where it was measured (ASE calculators), else wall time × cores, s; of the original "
        "label if it was reused",
    )
    reused_from: str | None = Field(default=None, description="uuid of the stored label that answered the request")
    document: Artifact | None = Field(default=None, description="the engine's own whole document")
    engine: str | None = Field(
        default=None, description="program and version that made a label brought from outside; None for all others"
    )


class SubstructureDoc(LabelledDoc, AttemptAtCentre):
    """One labelled substructure, with the jobs, the frame and the atom that it comes from.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> doc = campaign.substructures()[0]
    >>> f"atom {doc.atom} of the frame at step {doc.step}: {doc.n_atoms} atoms, {len(doc.core)} of them untouched"
    'atom 77 of the frame at step 40: 78 atoms, 18 of them untouched'
    >>> doc.uncertainty > campaign.state().threshold  # which is why it was asked for
    True
    >>> campaign.lineage(doc.uuid).crop.atom
    77
    """

    kind: Literal["substructure"] = "substructure"  # type: ignore[assignment]  # narrows the parent's literal
    origin: Origin = Field(default="substructure", description="what the label is for")
    uuid: str = Field(description="job that made the document")
    uncertainty: float = Field(description="of the centre in the frame, normalised")
    shell_uncertainty: float | None = Field(description="mean over the shell after relaxation, normalised")
    relaxation_uuid: str = Field(description="job that relaxed the shell")

    @property
    def centre_of_cell(self) -> int:
        """Index of the centre in ``structure``; raises ValueError if no structure was found."""
        if self.centre is None:
            raise ValueError(f"{self.request_key} has no structure and no centre in it: {self.cause}")
        return self.centre
