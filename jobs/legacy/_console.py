"""What a person at the command line sees: bars while it runs, then what became of the lines."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from rich.console import Console
from rich.table import Table

from jobs.imports import ImportFailed, shown
from jobs.legacy._import import Account, Import, import_legacy
from jobs.legacy._results import KEPT, RAISED, REFUSED, THERE, reasons
from jobs.legacy._undo import Undoing, list_batches, undo_legacy

_MOST_REASONS = 10
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
    target = results or path.with_name(f"{path.name}.{'dry-run' if dry_run else 'results'}.csv")
    with _gone_on_with(console, "import the file"), shown(console) as progress:
        done = import_legacy(dsn, path, target, community=community, dry_run=dry_run, progress=progress)
    _tell_lines(done, console)
    console.print(f"Each line's result: {target}", highlight=False, soft_wrap=True, markup=False)
    if done.stored is None:
        console.print("Nothing was written: this was a dry run.")
        return
    _tell_accounts(done.told, done.stored, console)
    console.print(f"Batch {done.batch}{', gone on with' if done.resumed else ''}.", highlight=False)
    if done.told != done.stored:
        raise ImportFailed(
            "What is stored does not add up to the file: somebody has changed it. Undo the batch."
        )
    if done.shown_too_low:
        raise ImportFailed(f"Of {done.shown_too_low:,} lines less is shown than they say. Undo the batch.")
    if not done.told.lines:
        raise ImportFailed("Nothing was imported: each line was refused.")


@contextmanager
def _gone_on_with(console: Console, what: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"Stopped. What is done stays; {what} again to go on.")
        raise


def _tell_lines(done: Import, console: Console) -> None:
    outcomes = Counter(result.outcome for result in done.results.values())
    table = Table("lines", "", box=None, show_header=False)
    table.columns[0].justify = "right"
    table.add_row(f"{len(done.results):,}", "read")
    for outcome, words in _TOLD.items():
        if outcomes[outcome]:
            table.add_row(f"{outcomes[outcome]:,}", words)
    console.print(table)
    told = reasons(done.results.values()).most_common()
    for reason, count in told[:_MOST_REASONS]:
        console.print(f"  refused: {count:,}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if rest := sum(count for _, count in told[_MOST_REASONS:]):
        console.print(f"  refused: {rest:,} for other reasons, which are in the results", highlight=False)
    console.print(f"Enrolments that this completed: {done.completed:,}.", highlight=False)
    if 0 < max((result.percent_after or 0 for result in done.results.values()), default=0) <= 1:
        console.print("No percent is more than 1. If they are shares, multiply them by 100, and undo this.")


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
    with _gone_on_with(console, "undo it"), shown(console) as progress:
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
        print(told)
    if not found:
        console.print("No legacy progress was imported.")


def _tell_undone(undone: Undoing, console: Console) -> None:
    console.print(f"Undone: {undone.lines:,} lines.", highlight=False)
    if undone.reopened:
        console.print(f"Enrolments that go on, for they were complete by the import: {undone.reopened:,}.")
    if undone.left_completed:
        console.print(
            "Enrolments left completed, for they have lapsed, been followed by others, or their people have left: "
            f"{undone.left_completed:,}."
        )
