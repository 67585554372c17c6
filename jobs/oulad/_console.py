"""What a person at the command line sees of an import: bars while it runs, and a summary."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from jobs.imports import shown
from jobs.oulad._load import import_oulad
from jobs.oulad._totals import ImportTotals


def run(path: Path, dsn: str, console: Console, *, with_progress: bool = False) -> ImportTotals:
    """Imports the folder, or raises ImportFailed."""
    with shown(console) as progress:
        totals = import_oulad(dsn, path, with_progress=with_progress, progress=progress)
    console.print(_summary(totals))
    for note in totals.notes:
        console.print(f"  {note}", highlight=False)
    console.print(_conclusion(totals), highlight=False)
    return totals


def _summary(totals: ImportTotals) -> Table:
    summary = Table("", "rows read", "created", "there already", box=None)
    for column in summary.columns[1:]:
        column.justify = "right"
    for file, count in totals.read.items():
        summary.add_row(file, f"{count:,}")
    for table, count in totals.created.items():
        summary.add_row(table, "", f"{count:,}", f"{totals.there_already[table]:,}")
    return summary


def _conclusion(totals: ImportTotals) -> str:
    created = sum(totals.created.values())
    rows = "row" if created == 1 else "rows"
    return f"Imported: {created:,} new {rows}." if created else "Nothing new: all of it was there already."
