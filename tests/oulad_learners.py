"""Learners of a module of our own, ZZ9: as lines of the files, and as what they have become."""

from typing import Any

from tests.databases import Database


def learners(*registrations: str, results: dict[str, str] | None = None) -> dict[str, list[str]]:
    """Files for lines such as 2013B,7,-20,; a result is Pass unless it is named."""
    keys = [",".join(line.split(",")[:2]) for line in registrations]
    return {
        "courses": ["ZZ9,2013B,240", "ZZ9,2013J,268"],
        "studentRegistration": [f"ZZ9,{line}" for line in registrations],
        "studentInfo": [f"ZZ9,{key},{(results or {}).get(key, 'Pass')}" for key in keys],
    }


def enrollments(database: Database) -> list[tuple[Any, ...]]:
    return database.run(
        """
        select m.display_name, e.attempt, e.status, e.enrolled_at, e.due_at, e.withdrawn_at
        from public.program_enrollments as e
        join public.memberships as m using (community_id, user_id)
        join public.communities as c on c.id = e.community_id and c.slug = 'oulad-zz9'
        order by m.display_name, e.attempt
        """
    )
