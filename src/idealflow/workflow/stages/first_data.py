"""Data of the first fit: labels of perturbed structures, a dataset, or nothing where an earlier campaign is carried on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ase import Atoms
from jobflow import JobStore

from idealflow.errors import CampaignError
from idealflow.schemas import LabelledDoc, LearnerVersion, StageContext
from idealflow.storage import ArtifactStore, shard_keys, write_shard
from idealflow.wording import counted
from idealflow.workflow.frames.encode import labelled_atoms
from idealflow.workflow.stages.awaited import refuse_awaited

__all__ = ["FirstData", "of_a_dataset", "of_an_earlier_campaign", "of_labels"]


@dataclass(frozen=True)
class FirstData:
    """Labelled structures for the first fit.

    Attributes
    ----------
    what
        Plain data that differs for different structures and labels; it is hashed to see whether a fit is still the one asked for.
    keys, frames
        Ledger keys, and structures with energy (eV), forces (eV/Å) and, where known, stress (eV/Å³) as results.
    failed
        Request key of each label that failed → cause.
    notes
        What the user should know about the data.

    Examples
    --------
    >>> FirstData(what=[], failed={"li/bootstrap/000000": "SCF did not converge"}).check_enough()
    Traceback (most recent call last):
    idealflow.errors.CampaignError: the bootstrap has 0 labelled structures, at least 2 are needed; 1 label failed: ...
    """

    what: object
    keys: list[str] = field(default_factory=list)
    frames: list[Atoms] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def check_enough(self) -> None:
        """Refuse to fit to fewer than 2 structures.

        Raises
        ------
        CampaignError
            Names the causes of labels that failed.
        """
        if len(self.frames) >= 2:
            return
        if not self.failed:
            raise CampaignError(
                f"the bootstrap has {counted(len(self.frames), 'labelled structure')}; at least 2 are needed"
            )
        causes = "; ".join(f"{count}× {cause}" for cause, count in Counter(self.failed.values()).most_common())
        raise CampaignError(
            f"the bootstrap has {counted(len(self.frames), 'labelled structure')}, at least 2 are needed; "
            f"{counted(len(self.failed), 'label')} failed: {causes}"
        )


def of_labels(jobstore: JobStore, context: StageContext, n_asked: int) -> FirstData:
    """Read the bootstrap's labels, sorted by request key.

    An interrupted run that asked for more structures may have left labels with higher numbers; they are not learned.

    Raises
    ------
    LabelsAwaitedError
        If some of them are computed elsewhere and not brought back yet.

    Examples
    --------
    >>> from maggma.stores import MemoryStore
    >>> store = JobStore(MemoryStore())
    >>> store.connect()
    >>> context = StageContext(campaign="li", round=0, seed=0, artifacts="artifacts", work="work")
    >>> of_labels(store, context, n_asked=48).frames
    []
    """
    query = {"output.kind": "label", "output.campaign": context.campaign, "output.origin": "bootstrap"}
    stored = jobstore.query(query, properties=["output"], load=True)
    docs = sorted((LabelledDoc.model_validate(entry["output"]) for entry in stored), key=lambda doc: doc.request_key)
    docs = [doc for doc in docs if int(doc.request_key.rsplit("/", 1)[1]) < n_asked]
    refuse_awaited(docs)
    accepted = [doc for doc in docs if doc.state == "accepted"]
    return FirstData(
        [[doc.request_key, doc.geometry_key, doc.state] for doc in docs],
        [doc.request_key for doc in accepted],
        [labelled_atoms(doc) for doc in accepted],
        {doc.request_key: doc.cause or "unknown" for doc in docs if doc.state == "failed"},
    )


def of_a_dataset(
    store: ArtifactStore, frames: Sequence[Atoms], checks: Sequence[str], notes: Sequence[str]
) -> FirstData:
    """Take a dataset's structures, and store a copy of them; ``checks`` are request keys of the labels that check the dataset.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> cells = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6)]  # labelled with EMT
    >>> for cell in cells:
    ...     cell.calc = EMT()
    ...     forces = cell.get_forces()
    >>> data = of_a_dataset(ArtifactStore(tempfile.mkdtemp()), cells, checks=[], notes=[])
    >>> len(data.keys), len(data.frames)
    (2, 2)
    """
    shard = write_shard(store, frames)
    return FirstData([shard.sha256, checks], shard_keys(shard, len(frames)), list(frames), {}, list(notes))


def of_an_earlier_campaign(learner: LearnerVersion) -> FirstData:
    """Return no structures: nothing is fitted, since the learner of the earlier campaign is carried on.

    Examples
    --------
    >>> from idealflow.schemas import Artifact
    >>> file = Artifact(path="ab/abc.pt", sha256="abc", size=3)
    >>> learner = LearnerVersion(version=4, force_field=file, uncertainty=file, ledger=file)
    >>> of_an_earlier_campaign(learner).frames
    []
    """
    return FirstData(learner.model_dump())
