"""Imports what an earlier system showed of people's courses, line by line, and takes it back."""

from jobs.legacy._console import run_import, run_undo
from jobs.legacy._import import import_legacy
from jobs.legacy._undo import undo_legacy

__all__ = ["import_legacy", "run_import", "run_undo", "undo_legacy"]
