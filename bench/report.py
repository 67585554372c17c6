"""What the benchmark tells: a table for people, figures with fixed names for programs."""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bench.memory import Memory
from bench.rounds import FLOOR, Contest, Measurement, Plan

_RESULTS = Path(__file__).with_name("results")
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"

_NAMES = {
    "ours": "**this server**",
    "postgraphile": "PostGraphile",
    "conventional": "conventional",
    FLOOR: "pgbench",
}
_COLUMNS = (
    "document",
    "server",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "server µs",
    "Postgres µs",
    "sum µs",
    "load generator µs",
    "requests/s, ours ÷ theirs",
    "CPU, theirs ÷ ours",
)


@dataclass(frozen=True)
class Results:
    """All that was measured in one run. `neighbours` is the share of the machine that other programs took."""

    contests: list[Contest]
    http_only: Measurement
    resident_mb: Mapping[str, float]
    memory: Memory | None
    plan: Plan
    data: str
    neighbours: float


def figures(results: Results) -> dict[str, float]:
    found: dict[str, float] = {}
    for contest in results.contests:
        found |= _figures_of(contest)
    for name, megabytes in results.resident_mb.items():
        found["memory_mb" if name == "ours" else f"{name}_memory_mb"] = round(megabytes, 1)
    if results.memory is not None:
        found["memory_mb"] = round(results.memory.at_end_mb, 1)
        found["memory_growth_mb"] = round(results.memory.growth_mb, 1)
    return found


def _figures_of(contest: Contest) -> Iterator[tuple[str, float]]:
    for name in contest.results:
        measured = contest.median(name)
        ratios = _ratios(contest, name)
        if ratios is not None:
            yield f"{contest.name}_vs_{name}", round(ratios[0], 3)
            yield f"{contest.name}_cpu_vs_{name}", round(ratios[1], 3)
        prefix = "" if name == "ours" else f"{name}_"
        yield f"{prefix}{contest.name}_cpu_us", round(measured.sum_us, 1)
        yield f"{prefix}{contest.name}_per_s", round(measured.per_second, 1)


def text(results: Results) -> str:
    rows = [_COLUMNS, ("---", "---", *["--:"] * (len(_COLUMNS) - 2))]
    for contest in results.contests:
        rows += _rows(contest)
    rows.append(("HTTP only", _NAMES["ours"], *_cells(results.http_only), "", ""))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{table}\n\n{_about(results)}\n\n{_about_memory(results)}"


def _rows(contest: Contest) -> Iterator[tuple[str, ...]]:
    for name, shown in _NAMES.items():
        label = contest.name.replace("_", " ") if name == "ours" else ""
        if name in contest.results:
            yield label, shown, *_cells(contest.median(name)), *_ratio_cells(contest, name)
        elif name != FLOOR:
            yield label, shown, "left out", *[""] * (len(_COLUMNS) - 3)


def _cells(measured: Measurement) -> list[str]:
    times = (_cell(value, ".1f") for value in (measured.p50_ms, measured.p99_ms))
    costs = (measured.server_us, measured.postgres_us, measured.sum_us, measured.load_us)
    return [_cell(measured.per_second, ",.0f"), *times, *(_cell(value, ",.0f") for value in costs)]


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _ratio_cells(contest: Contest, name: str) -> list[str]:
    ratios = _ratios(contest, name)
    if ratios is None:
        return ["", ""]
    return [f"{ratios[0]:.0%}", ""] if name == FLOOR else [f"{ratio:.2f}" for ratio in ratios]


def _ratios(contest: Contest, other: str) -> tuple[float, float] | None:
    """How many times as many requests ours answers, and how many times as much CPU time the other one takes."""
    if other == "ours":
        return None
    ours, theirs = contest.median("ours"), contest.median(other)
    return ours.per_second / theirs.per_second, theirs.sum_us / ours.sum_us


def _about(results: Results) -> str:
    plan = results.plan
    return (
        f"Data: {results.data}. {date.today():%B %Y}, {machine()}; medians of {plan.rounds} rounds of"
        f" {plan.seconds:g} s over {plan.connections} connections. Other programs took {results.neighbours:.0%} of"
        " the machine meanwhile."
    )


def _about_memory(results: Results) -> str:
    told = ", ".join(
        f"{_NAMES[name].strip('*')} {value:,.0f} MB" for name, value in results.resident_mb.items()
    )
    line = f"Resident memory of the server's process after the rounds: {told}."
    memory = results.memory
    if memory is None:
        return line
    return (
        f"{line} This server through {memory.requests:,} requests more with 5,000 distinct documents:"
        f" {memory.after_first_mb:,.0f} MB after the first tenth, {memory.at_end_mb:,.0f} MB at the end."
    )


def machine() -> str:
    """What it ran on."""
    known = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    processor = next(
        (value.strip() for name, _, value in known if name.strip() == "model name"), platform.machine()
    )
    return f"{os.cpu_count()} cores ({processor}), Python {platform.python_version()}"


def write_figures(results: Results, command: str) -> None:
    write_json("engine", figures(results), command, results.data)


def write_json(name: str, figures: Mapping[str, float], command: str, data: str) -> None:
    """Writes a benchmark's figures for programs."""
    told = {"figures": figures, "command": command, "data": data}
    (_RESULTS / f"{name}.json").write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def write_page(results: Results) -> None:
    write_table("engine", text(results))


def write_table(name: str, table: str) -> None:
    """Puts a benchmark's table between its two marks in the page."""
    begin, end = f"<!-- bench: {name} -->", f"<!-- end of bench: {name} -->"
    before, _, rest = PAGE.read_text().partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n{table}\n{end}{after}")
