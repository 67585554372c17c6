"""Folders in the format of the OULAD: the sample, a small one of our own, and what is in them, counted apart."""

import csv
import gzip
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.oulad import ImportFailed, import_oulad
from local.demo import SAMPLE
from tests.databases import Database

WHOLE = Path(os.environ.get("OULAD_DIR", Path(__file__).parents[2] / "shared" / "data" / "oulad"))

HEADERS = {
    "courses": "code_module,code_presentation,module_presentation_length",
    "assessments": "code_module,code_presentation,id_assessment,assessment_type,date,weight",
    "vle": "id_site,code_module,code_presentation,activity_type,week_from,week_to",
    "studentInfo": "code_module,code_presentation,id_student,final_result",
    "studentRegistration": "code_module,code_presentation,id_student,date_registration,date_unregistration",
    "studentAssessment": "id_assessment,id_student,date_submitted,is_banked,score",
}


_TENANT_TABLES = (
    *("programs", "courses", "course_versions", "program_course_assignments", "blocks"),
    *("memberships", "program_enrollments"),
)
_OF_OULAD = "community_id in (select id from public.communities where slug like 'oulad-%')"
_IN_CURRENT_VERSION = f"""
    {_OF_OULAD} and (community_id, course_id, version) in (select community_id, id, version from public.courses)
"""
# What came by an import: conditions by table.
_IMPORTED = {
    "public.communities": "slug like 'oulad-%'",
    "auth.users": "email like 'oulad-%'",
    **{f"public.{table}": _OF_OULAD for table in _TENANT_TABLES},
    "public.course_versions": _IN_CURRENT_VERSION,
    "public.blocks": _IN_CURRENT_VERSION,
    "public.program_course_assignments": _OF_OULAD
    + " and (community_id, program_id, version) in (select community_id, id, version from public.programs)",
}
# What depends on when it came, and on how many imports there were before.
_OF_THE_DAY = {
    "public.courses": "created_at,updated_at,version",
    "public.course_versions": "created_at,id,version,published_at",
    "public.blocks": "version",
    "public.programs": "created_at,updated_at,version",
    "public.program_course_assignments": "created_at,id,version,course_version",
    "public.program_enrollments": "updated_at,program_version",
}


def copy_of_sample(folder: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, folder))


def write_folder(folder: Path, **files: Sequence[str]) -> Path:
    """Plain files with these lines below their headers; a file that is not named has the header only."""
    folder.mkdir()
    for name, header in HEADERS.items():
        lines = [header, *files.get(name, ())]
        (folder / f"{name}.csv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def replace_line(file: Path, number: int, text: str) -> None:
    """Line 1 is the header."""
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[number - 1] = text
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def compress(file: Path) -> Path:
    packed = file.with_name(f"{file.name}.gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    return packed


def read(folder: Path, name: str) -> list[dict[str, str]]:
    packed = folder / f"{name}.csv.gz"
    plain = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / f"{name}.csv").read_bytes()
    return list(csv.DictReader(plain.decode().splitlines()))


def expected_counts(folder: Path) -> dict[str, int]:
    """What an import of this folder must leave, worked out from the files without the importer."""
    courses, registrations = read(folder, "courses"), read(folder, "studentRegistration")
    assessments, resources = read(folder, "assessments"), read(folder, "vle")
    sections = {_run(row) for row in assessments}
    kinds = {(_run(row), row["activity_type"]) for row in resources}
    modules = len({row["code_module"] for row in courses})
    return {
        "communities": modules,
        "programs": modules,
        "courses": len(courses),
        "course_versions": len(courses),
        "program_course_assignments": len(courses),
        "blocks": len(assessments) + len(resources) + len(sections) + len(kinds),
        "users": len({row["id_student"] for row in registrations}),
        "memberships": len({(row["code_module"], row["id_student"]) for row in registrations}),
        "program_enrollments": len(registrations),
    }


def _run(row: dict[str, str]) -> tuple[str, str]:
    return row["code_module"], row["code_presentation"]


def stored_counts(database: Database) -> dict[str, int]:
    """What is in the database that came by an import."""
    counts = [
        f"select '{table.split('.')[1]}', count(*) from {table} where {condition}"
        for table, condition in _IMPORTED.items()
    ]
    return dict(database.run(" union all ".join(counts)))


def snapshot(database: Database) -> list[tuple[Any, ...]]:
    """Number and digest of all rows of an import, table by table; what is of the day of import left out."""
    digests = [
        f"""
        select '{table}', count(*), md5(string_agg(content, ',' order by content))
        from (
            select (to_jsonb(t) - '{{{_OF_THE_DAY.get(table, "created_at,updated_at")}}}'::text[])::text as content
            from {table} as t where {condition}
        ) as contents
        """
        for table, condition in _IMPORTED.items()
    ]
    return database.run(" union all ".join(digests))


def refusal(database: Database, folder: Path, *, with_progress: bool = False) -> list[str]:
    """The problems for which an import is refused, without the advice in the last line. Nothing may be stored."""
    with pytest.raises(ImportFailed) as failure:
        import_oulad(database.dsn(), folder, with_progress=with_progress)
    assert not any(stored_counts(database).values())
    *problems, advice = str(failure.value).splitlines()
    assert advice == "Nothing was loaded. Correct this, then import again."
    return problems
