"""What a person at the command line sees of sealing and verifying."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from jobs.audit._entries import Progress, communities, connected
from jobs.audit._heads import SigningKey, last_head, read_heads, read_public_key
from jobs.audit._seal import count_waiting, seal
from jobs.audit._verify import verify


def run_seal(dsn: str, key: SigningKey, console: Console, *, restored: bool) -> None:
    with _shown(console) as progress:
        sealed = seal(dsn, key, restored=restored, progress=progress)
    entries = "entry" if sealed == 1 else "entries"
    console.print(f"Sealed: {sealed:,} {entries}." if sealed else "Nothing to seal.", highlight=False)


def run_verify(dsn: str, console: Console, *, public_keys: Iterable[str], head_file: Path | None) -> bool:
    """Whether all is as it was sealed; what is not is printed."""
    keys = [read_public_key(key) for key in public_keys]
    kept = read_heads(head_file) if head_file else []
    with _shown(console) as progress:
        findings = verify(dsn, public_keys=keys, kept=kept, progress=progress)
    for finding in findings:
        console.print(f"Wrong: {finding}.", style="red", highlight=False, soft_wrap=True)
    if not findings:
        console.print("All that was sealed is as it was.", highlight=False)
    waiting = count_waiting(dsn)
    if waiting:
        entries = "1 entry is" if waiting == 1 else f"{waiting:,} entries are"
        console.print(f"{entries} not sealed yet: run `audit seal`.", highlight=False)
    return not findings


def print_heads(dsn: str) -> None:
    """The newest head of each community, as `--head` reads them: a JSON object a line."""
    with connected(dsn) as connection:
        for community in communities(connection):
            head = last_head(connection, community)
            if head.number:
                print(json.dumps(head.as_json()))


def print_public_key(key: SigningKey) -> None:
    print(key.public_pem)


@contextmanager
def _shown(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step)
            bars.update(tasks[step], completed=done, total=total)

        yield show
