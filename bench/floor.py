"""The floor: pgbench runs the SQL that our compiler writes, under our identity statement: no HTTP, no Python."""

import asyncio
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.callers import ISSUER, SECRET
from bench.database import Database
from bench.errors import BenchError
from bench.scenarios import Ask, Scenario
from resolvers.documents import Request
from resolvers.engine import Engine, Policy
from resolvers.identity import Identity, Verifier
from resolvers.lanes import _IDENTITY
from resolvers.limits import Limits
from resolvers.plan import Statement
from schema import model

_WRITES_OF_A_CLIENT = 8
_POLICY = Policy(
    Limits(12, 30, 10, 2_000),
    max_tokens=2_000,
    max_nodes=5_000,
    max_cost=100_000,
    introspection_for_all=False,
)
_TIMEOUTS = ("8000", "3000")
_TPS = re.compile(r"tps = ([\d.]+) \(without initial connection time\)")
_COUNT = re.compile(r"number of transactions actually processed: (\d+)")


@dataclass
class _Notebook:
    """A `Database` that notes down what it is asked to run."""

    identity: Identity | None = None
    statements: list[Statement] = field(default_factory=list)
    read_only: bool = True

    async def run(
        self, identity: Identity, statements: Sequence[Statement], *, read_only: bool
    ) -> list[bytes | None]:
        self.identity, self.statements, self.read_only = identity, list(statements), read_only
        return [b"null"] * len(statements)


@dataclass(frozen=True)
class Floor:
    """A script for pgbench, and the values of its variables."""

    script: Path
    values: dict[str, str]

    def run(self, database: Database, *, connections: int, seconds: float) -> tuple[int, float]:
        """How many transactions there were, and how many a second."""
        command: list[str | Path] = [database.binaries / "pgbench", "--no-vacuum", "--protocol=prepared"]
        command += [f"--client={connections}", "--jobs=1", f"--time={max(1, round(seconds))}"]
        command += ["-f", self.script, *(f"--define={name}={value}" for name, value in self.values.items())]
        # Preparing checks permissions, and pgbench prepares before the identity statement has run.
        environment = {"PGOPTIONS": "-c role=authenticated", "LC_ALL": "C"}
        run = subprocess.run(
            [*command, database.url],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        rate, number = _TPS.search(run.stdout), _COUNT.search(run.stdout)
        if run.returncode != 0 or rate is None or number is None:
            raise BenchError(f"pgbench failed: {run.stderr.strip()[-500:]}")
        return int(number[1]), float(rate[1])


def make_floor(scenario: Scenario, folder: Path, connections: int) -> Floor:
    """What pgbench needs to run the first requests of a scenario."""
    folder.mkdir(exist_ok=True)
    script = folder / f"{scenario.name}.sql"
    names = _Names()
    if not scenario.needs_variables:
        lines = _pipeline(next(scenario.asks("ours")), names)
    else:
        # Each client has requests of its own: writers of one row would wait for each other.
        each = _WRITES_OF_A_CLIENT if scenario.is_mutation else 1
        asks = scenario.asks("ours", connections * each)
        clients = [
            _choice("pick", [_pipeline(next(asks), names) for _ in range(each)]) for _ in range(connections)
        ]
        lines = [f"\\set pick random(0, {each - 1})", *_choice("client_id", clients)]
    script.write_text("\n".join([*lines, ""]))
    return Floor(script, names.values)


def _choice(variable: str, branches: list[list[str]]) -> list[str]:
    """The branch whose number the variable has. What is not chosen is not prepared either."""
    if len(branches) == 1:
        return branches[0]
    lines = []
    for number, branch in enumerate(branches):
        lines += [f"\\{'elif' if number else 'if'} :{variable} = {number}", *branch]
    return [*lines, "\\endif"]


class _Names:
    """pgbench's variables: a name for each value."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, value: str) -> str:
        return self._names.setdefault(value, f"v{len(self._names)}")

    @property
    def values(self) -> dict[str, str]:
        return {name: value for value, name in self._names.items()}


def _pipeline(ask: Ask, names: _Names) -> list[str]:
    statements = [_for_pgbench(statement, names) for statement in statements_of(ask)]
    return ["\\startpipeline", *statements, "\\endpipeline"]


def _for_pgbench(statement: Statement, names: _Names) -> str:
    """The statement with pgbench's variables for its parameters."""

    def variable(match: re.Match[str]) -> str:
        value = statement.parameters[int(match[1]) - 1]
        return "null" if value is None else f":{names.name(value)}"

    # pgbench sees variables inside of string literals, too; a literal may go on in the next line.
    sql = re.sub(r"(?<!:):(?=[A-Za-z_])", ":'\n'", statement.sql)
    return re.sub(r"\$(\d+)", variable, sql) + ";"


def statements_of(ask: Ask) -> list[Statement]:
    """What our server would send for a request: the identity statement, then the compiled ones."""
    return asyncio.run(_statements(ask))


async def _statements(ask: Ask) -> list[Statement]:
    notebook = _Notebook()
    engine = Engine(model(), notebook, _POLICY, b"a secret for cursors, long enough here")
    identity = await Verifier(issuer=ISSUER, secret=SECRET).verify(ask.caller.token)
    answer = await engine.answer(Request(ask.query, variables=ask.variables), identity)
    if not notebook.statements or notebook.identity is None:
        raise BenchError(f"The document does not compile: {answer.body.decode()[:500]}")
    who = notebook.identity
    settings = ("on" if notebook.read_only else "off", *_TIMEOUTS, who.claims, who.role)
    return [Statement(_IDENTITY, settings), *notebook.statements]
