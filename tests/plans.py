"""What a statement does in the database, found out in two ways: by its plan, and by the server's own counters."""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from resolvers.plan import Statement
from tests.people import Person, put_on

# A prepared statement is planned for its values, and once and for all, as Postgres likes it from the sixth time on.
MODES = ("force_custom_plan", "force_generic_plan")

# A good plan reads a few rows of a table for each object that it shows, and some to find out who asks.
ROWS_FOR_EACH, ROWS_IN_ANY_CASE = 3, 100
# A question that the first rows did not raise may come up with a later one, in each part of a statement.
QUESTIONS_MORE = 10

_EXPLAIN = sql.SQL("explain (analyze, verbose, buffers, timing off, costs off, format json) {}")
_COUNTERS = sql.SQL("""
select 'calls', p.oid::regproc::text, pg_stat_get_xact_function_calls(p.oid)
from pg_proc as p
where p.pronamespace = any ('{public,private,auth}'::regnamespace[])
union all
select 'reads', relname, seq_tup_read + coalesce(idx_tup_fetch, 0)
from pg_stat_xact_user_tables
""")

# Conditions that are put to every row which comes by. What an index is searched for is asked once a search.
_PUT_TO_ROWS = ("Filter", "Join Filter", "Hash Cond", "Merge Cond", "Sort Key", "Group Key")
_QUESTION = re.compile(r"\b(?:auth|private)\.\w+\(|\bcurrent_setting\(")
# The aliases that the compiler gives; a table with another one stands in a policy.
_OF_THE_DOCUMENT = re.compile(r"t\d+(_\d+)?")

Node = dict[str, Any]
Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class Ran:
    """What came of one statement: its value, its calls by function, the rows it read by table, and its plan."""

    value: str | None
    calls: Counter[str]
    reads: Counter[str]
    plan: Node

    @property
    def shown(self) -> int:
        """How many objects the value shows or counts; what a mutation's call gives is no object."""
        return _shown(json.loads(self.value)) if self.value and self.value.startswith("{") else 0

    @property
    def pages(self) -> int:
        """How many pages of tables and indexes it looked at, in functions and while planning them too."""
        return int(self.plan["Shared Hit Blocks"]) + int(self.plan["Shared Read Blocks"])


def run(
    connection: Connection,
    person: Person,
    statements: Sequence[Statement],
    mode: str,
    *,
    explain: bool = True,
) -> list[Ran]:
    """In one transaction that leaves nothing behind, as the server does it. What is explained runs twice.

    The connection must not prepare statements by itself, for all of them are forgotten in between.
    """
    with connection.transaction(force_rollback=True):
        put_on(connection, person.role, person.claims_text)
        return [_run(connection, statement, mode, explain=explain) for statement in statements]


def _run(connection: Connection, statement: Statement, mode: str, *, explain: bool) -> Ran:
    """All in one message, for there are thousands of them."""
    execution = _execution(statement.parameters)
    parts = [sql.SQL("set local plan_cache_mode = {}").format(sql.Identifier(mode)), *_prepared(statement)]
    if explain:
        parts += [sql.SQL("savepoint before"), _EXPLAIN.format(execution), sql.SQL("rollback to before")]
    cursor = connection.execute(sql.SQL("; ").join([*parts, _COUNTERS, execution, _COUNTERS]))
    answers = [result.fetchall() for result in cursor.results() if result.description]
    before, found, after = answers[-3:]
    value = found[0][0] if found else None
    plan: Node = answers[0][0][0][0]["Plan"] if explain else {}
    return Ran(value, _numbers("calls", before, after), _numbers("reads", before, after), plan)


def _prepared(statement: Statement) -> list[sql.Composable]:
    """The one before it is still there: no transaction undoes it."""
    text = sql.SQL(statement.sql)
    return [sql.SQL("deallocate all"), sql.SQL("prepare shape as {}").format(text)]


def _execution(parameters: Sequence[str | None]) -> sql.Composed:
    if not parameters:
        return sql.Composed([sql.SQL("execute shape")])
    values = sql.SQL(", ").join(sql.Literal(parameter) for parameter in parameters)
    return sql.SQL("execute shape ({})").format(values)


def _numbers(kind: str, before: list[TupleRow], after: list[TupleRow]) -> Counter[str]:
    """What the server has counted in between."""
    counts = Counter({name: number or 0 for k, name, number in after if k == kind})
    counts.subtract({name: number or 0 for k, name, number in before if k == kind})
    return counts


def complaints(
    ran: Ran, *, page: int, once_through: Mapping[str, int], looked_up: Collection[str]
) -> list[str]:
    """What is wrong with how a statement of pages of so many rows was carried out.

    `once_through` has the tables that it may read once, each with how many rows the caller's community has there;
    `looked_up` the indexes that policies may search for each row.
    """
    few = ROWS_FOR_EACH * (ran.shown + page) + ROWS_IN_ANY_CASE
    bounds = {table: few + rows for table, rows in once_through.items()}
    return [
        *(f"reads {n} rows of {table}" for table, n in ran.reads.items() if n > bounds.get(table, few)),
        *_wasteful_nodes(ran.plan, few, bounds),
        *_questions_put_to_rows(ran.plan, looked_up),
    ]


def growth(few: Ran, many: Ran, questions: Collection[str], by_the_value: Mapping[str, int]) -> list[str]:
    """Which questions of the policies are asked more often for many rows than for few.

    `by_the_value` has the functions that compute a field, each with how many questions it may ask for one value.
    """
    more = many.calls - few.calls
    allowed = QUESTIONS_MORE + sum(more[function] * most for function, most in by_the_value.items())
    return [f"asks {name} {more[name]} times more" for name in questions if more[name] > allowed]


def _wasteful_nodes(plan: Node, few: int, bounds: Mapping[str, int]) -> Iterator[str]:
    for node in _nodes(plan):
        table = node.get("Relation Name", "")
        looked_at = _rows(node, "Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        if table and looked_at > bounds.get(table, few):
            yield f"{node['Node Type']} of {table} looks at {looked_at} rows{_condition(node)}"
        if (removed := _rows(node, "Rows Removed by Join Filter")) > few:
            yield f"{node['Node Type']} tries {removed} pairs of rows in vain{_condition(node)}"


def _questions_put_to_rows(plan: Node, looked_up: Collection[str]) -> Iterator[str]:
    for node in _nodes(plan):
        if any(_QUESTION.search(str(node.get(condition, ""))) for condition in _PUT_TO_ROWS):
            yield f"{node['Node Type']} asks every row{_condition(node)}"
        relationship, times = node.get("Parent Relationship"), node["Actual Loops"]
        if times <= 1:
            continue
        if relationship == "InitPlan" and _QUESTION.search(str(node.get("Output"))):
            yield f"{node['Subplan Name']} asks {times} times: {node['Output']}"
        if relationship == "SubPlan":
            searched = _searched_by_policies(node).difference(looked_up)
            yield from (f"{name} is searched {times} times by a policy" for name in searched)


def _searched_by_policies(plan: Node) -> set[str]:
    """The indexes, else the tables, that a part of a plan looks into although the document does not name them."""
    return {
        str(node.get("Index Name", node["Relation Name"]))
        for node in _nodes(plan)
        if "Relation Name" in node and not _OF_THE_DOCUMENT.fullmatch(node["Alias"])
    }


def _nodes(plan: Node) -> Iterator[Node]:
    if plan:
        yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _rows(node: Node, *counts: str) -> int:
    """Over all loops; Postgres says how many they were in each, on average."""
    return round(sum(float(node.get(count, 0)) for count in counts) * int(node["Actual Loops"]))


def _condition(node: Node) -> str:
    found = {key: node[key] for key in ("Index Cond", *_PUT_TO_ROWS) if key in node}
    return f": {found}" if found else ""


def _shown(value: Any) -> int:
    if isinstance(value, list):
        return sum(_shown(item) for item in value)
    if not isinstance(value, dict):
        return 0
    counted = [int(number) for name, number in value.items() if name in ("totalCount", "enrolled")]
    return 1 + sum(counted) + sum(_shown(item) for item in value.values())
