"""What force fields that learn have in common: checked datasets, training that can be interrupted, offsets, exact files.

The built-in force field is made of it, and so can be one of your own (docs/howto/force-field.md).
"""

from idealflow.forcefields.dataset import (
    Prediction,
    Targets,
    absolute_errors,
    check_dataset,
    errors_of_predictions,
    targets_of,
)
from idealflow.forcefields.toolkit.checkpoint import read_checkpoint, write_checkpoint
from idealflow.forcefields.toolkit.draws import Draws
from idealflow.forcefields.toolkit.learner import GradientLearner
from idealflow.forcefields.toolkit.offsets import least_change, species_fractions, species_offsets
from idealflow.forcefields.toolkit.settings import check_positive, check_rate, check_whole, checked_steps
from idealflow.forcefields.toolkit.start import Start, labelled_by
from idealflow.forcefields.toolkit.torch_force_field import TorchForceField
from idealflow.forcefields.toolkit.training import Course, Training, affordable, falling, rise_and_fall, task_key

__all__ = [
    "Course",
    "Draws",
    "GradientLearner",
    "Prediction",
    "Start",
    "Targets",
    "TorchForceField",
    "Training",
    "absolute_errors",
    "affordable",
    "check_dataset",
    "check_positive",
    "check_rate",
    "check_whole",
    "checked_steps",
    "errors_of_predictions",
    "falling",
    "labelled_by",
    "least_change",
    "read_checkpoint",
    "rise_and_fall",
    "species_fractions",
    "species_offsets",
    "targets_of",
    "task_key",
    "write_checkpoint",
]
