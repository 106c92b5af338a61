"""Summary, figures and page of a campaign, from its stored documents."""

from idealflow.report.page import write_report
from idealflow.report.summary import evaluation_line, summarise, summary_text, write_summary

__all__ = ["evaluation_line", "summarise", "summary_text", "write_report", "write_summary"]
