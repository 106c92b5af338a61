"""Documents that a campaign writes: one pydantic model per stage, small, with units in the descriptions.

The document of a stage carries ``kind``, ``campaign`` and ``round``, by which it is found in any job store. Anything large
(trajectory, checkpoint, distribution) is a file named by its hash, and the document holds an :class:`Artifact` that says which.
Unknown keys are refused. The examples read the small campaign that ships with the package.
"""

from idealflow.schemas.base import Artifact, StoredFrame, StoredStructure
from idealflow.schemas.base import Document as Document
from idealflow.schemas.campaign import SETTINGS_IN_FULL as SETTINGS_IN_FULL
from idealflow.schemas.campaign import (
    CampaignState,
    LearnerFiles,
    LearnerVersion,
    ScreenedBy,
    SettingChange,
    StageContext,
    WalkerState,
)
from idealflow.schemas.labels import LabelledDoc, SubstructureDoc
from idealflow.schemas.learning import (
    BootstrapDoc,
    ConsolidationDoc,
    EvaluationDoc,
    FrameErrors,
    Lineage,
    ModelUpdateDoc,
    RelabelDoc,
    TrainingErrors,
)
from idealflow.schemas.substructures import UNLIKE as UNLIKE
from idealflow.schemas.substructures import AttemptAtCentre as AttemptAtCentre
from idealflow.schemas.substructures import (
    CandidateFigures,
    CentreDoc,
    CropDoc,
    RelaxationDoc,
    ScreenDoc,
    SegmentDoc,
    UnknownAtoms,
)
from idealflow.schemas.substructures import CentreOfFrame as CentreOfFrame
from idealflow.schemas.substructures import RelaxedCrop as RelaxedCrop
from idealflow.schemas.substructures import StoredCrop as StoredCrop

__all__ = [
    "Artifact",
    "BootstrapDoc",
    "CampaignState",
    "CandidateFigures",
    "CentreDoc",
    "ConsolidationDoc",
    "CropDoc",
    "EvaluationDoc",
    "FrameErrors",
    "LabelledDoc",
    "LearnerFiles",
    "LearnerVersion",
    "Lineage",
    "ModelUpdateDoc",
    "RelabelDoc",
    "RelaxationDoc",
    "ScreenDoc",
    "ScreenedBy",
    "SegmentDoc",
    "SettingChange",
    "StageContext",
    "StoredFrame",
    "StoredStructure",
    "SubstructureDoc",
    "TrainingErrors",
    "UnknownAtoms",
    "WalkerState",
]

for _one in list(globals().values()):
    if isinstance(_one, type) and issubclass(_one, Document):
        _one.__module__ = __name__  # stored documents name this module, whichever file a class lies in
