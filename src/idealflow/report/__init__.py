"""Summary, figures and page of a campaign, from its stored documents.

The page and its figures need matplotlib and pandas, and are imported when they are first used; the summary needs neither.
"""

from typing import TYPE_CHECKING

from idealflow.late_imports import late
from idealflow.report.summary import summarise, write_summary
from idealflow.report.wording import evaluation_line, summary_text

if TYPE_CHECKING:
    from idealflow.report.page import write_report

__all__ = ["evaluation_line", "summarise", "summary_text", "write_report", "write_summary"]

__getattr__, __dir__ = late(__name__, {"page": "write_report"})
