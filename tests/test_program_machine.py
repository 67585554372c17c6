"""The life of programs against a model in plain Python: whatever admins do, in whichever order."""

from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.types.json import Jsonb

from tests import cast
from tests.databases import Database
from tests.people import Person

COURSES = {"one": cast.COURSE, "two": cast.SECOND_COURSE, "unpublished": cast.DRAFT_COURSE}
REFUSED = "PT412"

Structure = tuple[tuple[str, bool, str | None], ...]

structures = st.lists(
    st.tuples(st.sampled_from(sorted(COURSES)), st.booleans(), st.sampled_from([None, "A", "B"])),
    unique_by=lambda course: course[0],
    max_size=3,
).map(tuple)
publishable = structures.filter(lambda structure: all(name != "unpublished" for name, *_ in structure))


@dataclass
class Model:
    """A program as it should be."""

    title: str
    status: str = "draft"
    versions: list[Structure] = field(default_factory=lambda: [()])

    @property
    def current(self) -> Structure:
        return self.versions[-1]

    def publish(self) -> str:
        return self._go("draft", "published") if _all_published(self.current) else REFUSED

    def archive(self) -> str:
        return self._go("published", "archived")

    def restore(self) -> str:
        return self._go("archived", "published")

    def _go(self, before: str, after: str) -> str:
        if self.status != before:
            return REFUSED
        self.status = after
        return ""

    def rename(self, title: str) -> str:
        if self.status == "archived":
            return REFUSED
        self.title = title
        return ""

    def assign(self, structure: Structure) -> str:
        if self.status == "archived":
            return REFUSED
        if structure == self.current:
            return ""
        if self.status == "draft":
            self.versions[-1] = structure
        elif not _all_published(structure):
            return REFUSED
        else:
            self.versions.append(structure)
        return ""


def _all_published(structure: Structure) -> bool:
    return all(name != "unpublished" for name, *_ in structure)


class ProgramMachine(RuleBasedStateMachine):
    admin: ClassVar[Person]
    programs = Bundle("programs")

    @initialize()
    def begin(self) -> None:
        self.model: dict[UUID, Model] = {}

    @precondition(lambda self: len(self.model) < 2)
    @rule(target=programs, title=st.sampled_from(["Old", "New"]))
    def create(self, title: str) -> UUID:
        program = UUID(self.call("create_program", title=title))
        self.model[program] = Model(title)
        return program

    @rule(program=programs)
    def publish(self, program: UUID) -> None:
        self.compare("publish_program", program, lambda model: model.publish())

    @rule(program=programs)
    def archive(self, program: UUID) -> None:
        self.compare("archive_program", program, lambda model: model.archive())

    @rule(program=programs)
    def restore(self, program: UUID) -> None:
        self.compare("restore_program", program, lambda model: model.restore())

    @rule(program=programs, title=st.sampled_from(["Old", "New", "Newer"]))
    def update(self, program: UUID, title: str) -> None:
        self.compare("update_program", program, lambda model: model.rename(title), title=title)

    @rule(program=programs)
    def delete(self, program: UUID) -> None:
        self.compare("delete_program", program, lambda model: "" if model.status == "draft" else REFUSED)
        if program in self.model and self.model[program].status == "draft":
            del self.model[program]

    @rule(program=programs, structure=st.one_of(publishable, structures))
    def assign(self, program: UUID, structure: Structure) -> None:
        courses = [
            {"course_id": str(COURSES[name]), "required": required, "group": group}
            for name, required, group in structure
        ]
        self.compare(
            "assign_courses",
            program,
            lambda model: model.assign(structure),
            program_id=program,
            courses=courses,
        )

    @precondition(lambda self: len(self.model) < 3)
    @rule(target=programs, program=programs)
    def clone(self, program: UUID) -> UUID:
        if program not in self.model:
            assert self.call("clone_program", id=program) == "PT404"
            return program
        clone = UUID(self.call("clone_program", id=program))
        self.model[clone] = Model(self.model[program].title, versions=[self.model[program].current])
        return clone

    @invariant()
    def programs_are_as_the_model_has_them(self) -> None:
        found: dict[UUID, tuple[str, str, int, dict[int, list[Any]]]] = {}
        for program, title, status, current, version, name, required, group in self.admin.sql(
            CONTENT, list(getattr(self, "model", {}))
        ):
            known = found.setdefault(program, (title, status, current, {}))
            courses = known[3].setdefault(version, [])
            if name is not None:
                courses.append((name, required, group))
        for program, model in getattr(self, "model", {}).items():
            versions = {n: list(structure) for n, structure in enumerate(model.versions, 1)}
            assert found[program] == (model.title, model.status, len(versions), versions)

    def compare(self, function: str, program: UUID, expected: Any, **more: Any) -> None:
        outcome = self.call(function, **{"id": program, **more})
        wanted = expected(self.model[program]) if program in self.model else "PT404"
        assert (outcome if outcome.startswith("PT") else "") == wanted

    def call(self, function: str, **values: Any) -> str:
        """The id that the function gives, or the SQLSTATE with which it refuses."""
        given = {key: str(value) if isinstance(value, UUID) else value for key, value in values.items()}
        try:
            with self.admin.transaction() as connection:
                row = connection.execute(f"select public.{function}(%s)", (Jsonb(given),)).fetchone()
                connection.execute("set constraints all immediate")
        except psycopg.Error as error:
            return error.sqlstate or ""
        return str(row[0]) if row else ""


CONTENT = f"""
select p.id, p.title, p.status, p.version, v.version,
    case a.course_id when '{cast.COURSE}' then 'one' when '{cast.SECOND_COURSE}' then 'two'
        when '{cast.DRAFT_COURSE}' then 'unpublished' end,
    a.required, a.group_name
from public.programs as p
join public.program_versions as v on v.program_id = p.id
left join public.program_course_assignments as a on a.program_id = v.program_id and a.version = v.version
where p.id = any (%s)
order by p.id, v.version, a.sequence_order
"""


def test_programs_live_as_the_model_says(as_admin: Person, database: Database) -> None:
    ProgramMachine.admin = as_admin

    run_state_machine_as_test(
        ProgramMachine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,  # or what is asked at the end would hold only mostly
            suppress_health_check=list(HealthCheck),
        ),
    )

    versions = (
        "select max(version), count(*) > 10 from public.programs where title in ('Old', 'New', 'Newer')"
    )
    ((most, many),) = database.run(versions)
    assert most > 1
    assert many
