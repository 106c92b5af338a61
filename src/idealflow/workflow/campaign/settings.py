"""The settings of a campaign: its own, and those of all its stages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, get_type_hints

from jobflow import Maker
from pydantic import Field

from idealflow.workflow.campaign.queues import PARTS, checked_queues, former_category, queues_of_sections
from idealflow.workflow.jobs.identity import StableName
from idealflow.workflow.stages.bootstrap import BootstrapMaker
from idealflow.workflow.stages.crop import CropSearchMaker, Embedding
from idealflow.workflow.stages.evaluation import EvaluationMaker
from idealflow.workflow.stages.label import LabelMaker
from idealflow.workflow.stages.relax import UncertaintyRelaxMaker
from idealflow.workflow.stages.screen import UncertaintyScreenMaker
from idealflow.workflow.stages.segment import MDSegmentMaker
from idealflow.workflow.stages.thresholds import Threshold
from idealflow.workflow.stages.update import ModelUpdateMaker

__all__ = ["CampaignSettings", "kinds_of_sections"]


@dataclass
class CampaignSettings(StableName, Maker):
    """Settings of an IDEAL campaign: the keys of a config.

    Attributes
    ----------
    campaign
        Name of the campaign, unique in its store; the same name on the same store continues it.
    learn
        False: MD on the first model alone; nothing is screened or labelled.
    embedding
        What is labelled: ``ides`` (relaxed crops), ``crop`` (unrelaxed), ``vacuum`` (clusters), ``frame`` (whole frames).
    continuation
        Who runs the round after this one, for a flow that you make yourself: ``return`` adds it to the running flow;
        ``launchpad`` submits it as a new FireWorks workflow. Default: ``return``. `idealflow run`, `idealflow submit` and
        :func:`~idealflow.workflow.drivers.local.run_campaign` say it themselves: leave it out for them.
    max_rounds
        Rounds that one call runs at most; then the campaign is ``paused`` and the same call goes on. Default: all there
        are by `idealflow run` and ``run_campaign``, 20 by ``run_locally``, which nests them. `idealflow run --max-rounds`
        sets it for one call. A submitted campaign has no calls: `idealflow pause` stops it.
    workers
        Processes that do the jobs of a round side by side: segments of all walkers, crop searches, relaxations, labels. No result
        depends on it. Default: by `idealflow run` as many as the cores at hand have room for (``IDEALFLOW_THREADS`` each); by
        ``run_campaign`` 1, which is the process itself. `idealflow run --workers` sets it for one call.
    budget
        ``{label_core_hours: 100}``: no label is started when the campaign's labels have taken so many; then it is ``paused``.
        Kept by `idealflow run` and ``run_campaign``. Default: no limit.
    n_walkers
        Independent walkers that share one learner; each has its own velocities and generator.
    threshold
        Normalised uncertainty above which an atom triggers, or ``auto``: from the training distribution's tail; or
        ``{force_error: 0.15}``: where the force error, eV/Å, was larger than that at labelled centres of this campaign when it is
        taken up again, or of the earlier campaign that it begins with.
    n_attempts
        Crops tried per centre before it is quarantined.
    max_failed_labels
        Failed labels after which the campaign stops as failed; None: never.
    max_failed_fraction
        The campaign stops as failed when more than this share of its last 20 labels failed, those of the bootstrap
        included; None: never.
    seed
        Seed of every random choice.
    artifacts
        Root URL of the artifact store (a folder, in a config relative to it, or a bucket fsspec knows); default: the site's
        settings.
    work
        Local folder for files in progress, in a config relative to it; default: the site's settings.
    queues
        Part of the campaign → FireWorks category of the workers that run its jobs, e.g. ``{default: cpu, segment: gpu}``.
        Parts are ``bootstrap``, ``segment``, ``screen``, ``crop``, ``relax``, ``label``, ``update`` and ``evaluation``;
        ``default`` is that of all others. Default: workers of any category.
    launchpad
        Launchpad file, as every worker sees it, to which rounds are submitted; default: FireWorks' own configuration.
        `idealflow submit --launchpad` sets it, where it is not set here.

    Examples
    --------
    >>> from idealflow import AseLabeller
    >>> label = LabelMaker(AseLabeller("ase.calculators.emt.EMT"))
    >>> settings = CampaignSettings(campaign="copper", label=label, queues={"default": "cpu", "segment": "gpu"})
    >>> settings.threshold, settings.n_attempts, settings.segment.check_interval
    ('auto', 3, 10)
    >>> CampaignSettings(campaign="copper", label=label, queues={"dynamics": "gpu"})
    Traceback (most recent call last):
    idealflow.errors.InputError: ...
    """

    campaign: Annotated[str, Field(min_length=1, max_length=200)] = "ideal"
    learn: bool = True
    embedding: Embedding = "ides"
    continuation: Literal["return", "launchpad"] | None = None
    max_rounds: Annotated[int, Field(ge=1)] | None = None
    workers: Annotated[int, Field(ge=1)] | None = None
    budget: dict[Literal["label_core_hours"], Annotated[float, Field(gt=0)]] = field(default_factory=dict)
    n_walkers: Annotated[int, Field(ge=1)] = 1
    threshold: Threshold = "auto"
    n_attempts: Annotated[int, Field(ge=1)] = 3
    max_failed_labels: Annotated[int, Field(ge=0)] | None = None
    max_failed_fraction: Annotated[float, Field(ge=0, lt=1)] | None = 0.5
    seed: Annotated[int, Field(ge=0)] = 0
    artifacts: str | None = None
    work: str | None = None
    queues: dict[str, str] = field(default_factory=dict)
    launchpad: str | None = None
    bootstrap: BootstrapMaker = field(default_factory=BootstrapMaker)
    segment: MDSegmentMaker = field(default_factory=MDSegmentMaker)
    screen: UncertaintyScreenMaker = field(default_factory=UncertaintyScreenMaker)
    crop: CropSearchMaker = field(default_factory=CropSearchMaker)
    relax: UncertaintyRelaxMaker = field(default_factory=UncertaintyRelaxMaker)
    label: LabelMaker = field(default_factory=LabelMaker)
    update: ModelUpdateMaker = field(default_factory=ModelUpdateMaker)
    evaluation: EvaluationMaker = field(default_factory=EvaluationMaker)
    name: str = "IDEAL"

    def __post_init__(self) -> None:
        """Check the queues, and take in what was once given as the ``category`` of a stage."""
        former = {part: former_category(self if part == "default" else getattr(self, part)) for part in PARTS}
        self.queues = queues_of_sections(checked_queues(self.queues), former)
        for part, category in former.items():
            if category is not None and part != "default":  # the stage that was given stays as it is
                setattr(self, part, replace(getattr(self, part)))


def kinds_of_sections() -> dict[str, str]:
    """Class of the Maker of each section of a config, by the section's name.

    Examples
    --------
    >>> kinds_of_sections()["segment"]
    'MDSegmentMaker'
    """
    hints = get_type_hints(CampaignSettings)
    kinds = {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Maker)}
    return {name: kind.__name__ for name, kind in kinds.items()}
