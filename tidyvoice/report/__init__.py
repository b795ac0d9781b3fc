"""The report of an experiment: one self-contained HTML page."""

from tidyvoice.report.page import write_report
from tidyvoice.report.system import System, load_system

__all__ = ["System", "load_system", "write_report"]
