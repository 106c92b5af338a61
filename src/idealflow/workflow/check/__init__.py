"""`idealflow check`: all that can be known of a campaign before anything is spent on it."""

from idealflow.workflow.check.config import check_config
from idealflow.workflow.check.findings import Findings

__all__ = ["Findings", "check_config"]
