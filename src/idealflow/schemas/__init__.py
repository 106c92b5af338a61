"""Documents that a campaign writes: one pydantic model per stage, small, with units in the descriptions.

Every document carries ``kind``, ``campaign`` and ``round``, by which it is found in any job store; anything large
(trajectory, checkpoint, distribution) is an :class:`Artifact`, a file named by its hash.
"""

from idealflow.schemas.base import Artifact, Document, InRound, StageOutput, StoredFrame, StoredStructure
from idealflow.schemas.campaign import (
    CampaignState,
    LearnerFiles,
    LearnerVersion,
    SettingChange,
    StageContext,
    WalkerState,
)
from idealflow.schemas.labels import LabelledDoc, SubstructureDoc
from idealflow.schemas.learning import (
    BootstrapDoc,
    EvaluationDoc,
    FrameErrors,
    Lineage,
    ModelUpdateDoc,
    RelabelDoc,
    TrainingErrors,
)
from idealflow.schemas.substructures import (
    AttemptAtCentre,
    CandidateFigures,
    CentreDoc,
    CentreOfFrame,
    CropDoc,
    RelaxationDoc,
    RelaxedCrop,
    ScreenDoc,
    SegmentDoc,
    StoredCrop,
)

__all__ = [
    "Artifact",
    "AttemptAtCentre",
    "BootstrapDoc",
    "CampaignState",
    "CandidateFigures",
    "CentreDoc",
    "CentreOfFrame",
    "CropDoc",
    "Document",
    "EvaluationDoc",
    "FrameErrors",
    "InRound",
    "LabelledDoc",
    "LearnerFiles",
    "LearnerVersion",
    "Lineage",
    "ModelUpdateDoc",
    "RelabelDoc",
    "RelaxationDoc",
    "RelaxedCrop",
    "ScreenDoc",
    "SegmentDoc",
    "SettingChange",
    "StageContext",
    "StageOutput",
    "StoredCrop",
    "StoredFrame",
    "StoredStructure",
    "SubstructureDoc",
    "TrainingErrors",
    "WalkerState",
]

for _public in __all__:
    globals()[_public].__module__ = __name__  # what stored documents name, whatever file a class lies in
