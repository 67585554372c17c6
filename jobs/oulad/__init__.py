"""Imports a folder of the Open University Learning Analytics Dataset: all or nothing, and repeatable."""

from jobs.imports import ImportFailed
from jobs.oulad._console import run
from jobs.oulad._load import import_oulad
from jobs.oulad._results import write_results
from jobs.oulad._totals import ImportTotals

__all__ = ["ImportFailed", "ImportTotals", "import_oulad", "run", "write_results"]
