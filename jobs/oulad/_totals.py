"""What an import tells when it is done."""

from dataclasses import dataclass, field


@dataclass
class ImportTotals:
    """Rows by file and by table, and what else people should know about them."""

    read: dict[str, int]
    created: dict[str, int] = field(default_factory=dict)
    there_already: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, count: int, what: str) -> None:
        if count:
            self.notes.append(f"{what}: {count:,}")
