"""Changing something, and looking at what the audit log has of it."""

from collections.abc import Sequence
from typing import Any

from tests.databases import Database

UPDATE = "mutation ($input: UpdateProgramInput!) { updateProgram(input: $input) { program { id } } }"


def entries(database: Database, condition: str = "true", *parameters: Any) -> list[dict[str, Any]]:
    """The newest first."""
    query = f"select to_jsonb(e) from public.audit_entries as e where {condition} order by occurred_at desc, id desc"
    return [entry for (entry,) in database.run(query, *parameters)]


def since(database: Database, before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {entry["id"] for entry in before}
    return [entry for entry in entries(database) if entry["id"] not in known]
