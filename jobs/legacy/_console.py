"""What a person at the command line sees: bars while it runs, then what became of the lines."""

from collections import Counter
from pathlib import Path
from uuid import UUID

from rich.console import Console
from rich.table import Table

from jobs.imports import ImportFailed, shown
from jobs.legacy._import import Account, Import, import_legacy
from jobs.legacy._results import KEPT, RAISED, REFUSED, THERE, reasons
from jobs.legacy._undo import Undoing, list_batches, undo_legacy

_TOLD = {
    RAISED: "raised what was shown",
    KEPT: "kept, and as much was shown already",
    THERE: "there already",
    REFUSED: "refused",
}


def run_import(
    path: Path,
    dsn: str,
    console: Console,
    *,
    community: str | None = None,
    results: Path | None = None,
    dry_run: bool = False,
) -> None:
    """Raises ImportFailed, also when what is stored does not add up to what the file says."""
    target = results or path.with_name(f"{path.name.split('.')[0]}.results.csv")
    with shown(console) as progress:
        done = import_legacy(dsn, path, target, community=community, dry_run=dry_run, progress=progress)
    _tell_lines(done, console)
    console.print(f"Each line's result: {target}", highlight=False, soft_wrap=True)
    if done.stored is None:
        console.print("Nothing was written: this was a dry run.")
        return
    _tell_accounts(done.told, done.stored, console)
    console.print(f"Batch {done.batch}{', gone on with' if done.resumed else ''}.", highlight=False)
    if done.told != done.stored or done.shown_too_low:
        raise ImportFailed(
            f"What is stored does not add up to the file, or {done.shown_too_low:,} people are shown less. Import it "
            "again; if that does not help, undo the batch."
        )


def _tell_lines(done: Import, console: Console) -> None:
    outcomes = Counter(result.outcome for result in done.results.values())
    table = Table("lines", "", box=None, show_header=False)
    table.columns[0].justify = "right"
    table.add_row(f"{len(done.results):,}", "read")
    for outcome, words in _TOLD.items():
        if outcomes[outcome]:
            table.add_row(f"{outcomes[outcome]:,}", words)
    console.print(table)
    for reason, count in reasons(done.results.values()).most_common(10):
        console.print(f"  refused: {count:,}: {reason}", highlight=False, markup=False)


def _tell_accounts(told: Account, stored: Account, console: Console) -> None:
    table = Table("", "lines", "sum of percents", "complete", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, account in (("in the file, but for refused lines", told), ("in the database", stored)):
        table.add_row(name, f"{account.lines:,}", f"{account.percents:,.3f}", f"{account.complete:,}")
    console.print(table)


def run_undo(batch: UUID | None, dsn: str, console: Console, *, dry_run: bool = False) -> None:
    """Without an id, the batches that there are."""
    if batch is None:
        _tell_batches(dsn, console)
        return
    with shown(console) as progress:
        undone = undo_legacy(dsn, batch, dry_run=dry_run, progress=progress)
    _tell_undone(undone, console)
    if dry_run:
        console.print("Nothing was written: this was a dry run.")


def _tell_batches(dsn: str, console: Console) -> None:
    found = list_batches(dsn)
    for batch, communities, file, lines, imported_at, undone_at in found:
        begun = f"imported {imported_at:%Y-%m-%d %H:%M}"
        undone = f", undone {undone_at:%Y-%m-%d %H:%M}" if undone_at else ""
        told = f"{batch}  {file}: {lines:,} lines, {communities}; {begun}{undone}"
        console.print(told, highlight=False, soft_wrap=True, markup=False)
    if not found:
        console.print("No legacy progress was imported.")


def _tell_undone(undone: Undoing, console: Console) -> None:
    console.print(f"Undone: {undone.lines:,} lines.", highlight=False)
    if undone.reopened:
        console.print(f"Enrolments that go on, for the import had completed them: {undone.reopened:,}.")
    if undone.left_completed:
        console.print(
            f"Enrolments left completed, for they have lapsed or been followed by others: {undone.left_completed:,}."
        )
