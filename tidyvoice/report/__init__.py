"""The report of an experiment: one self-contained HTML page."""

from tidyvoice.report.page import write_report
from tidyvoice.report.system import System, SystemResult, load_system

__all__ = ["System", "SystemResult", "load_system", "write_report"]
