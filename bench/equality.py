"""Before anything is timed: do all servers give the same answer to the same question?

Allowed are points in time written differently, and enum values in lower case where the database's text is shown as is.
"""

import http.client
import json
import re
from datetime import datetime
from typing import Any

from bench.errors import BenchError
from bench.peers import Peer
from bench.scenarios import Ask, Scenario

_COMPARED = 8
_ENUM_VALUE = re.compile(r"[A-Z][A-Z_]*")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*")


def check_answers(scenario: Scenario, peers: list[Peer], *, documents_are_ours: bool) -> list[Peer]:
    """The servers that can be measured: all but those that lack what a document asks for. Raises for a difference."""
    able = [peer for peer in peers if scenario.speaks(peer.dialect)]
    for number in range(_COMPARED):
        answers = {peer: _answer(peer, next(scenario.asks(peer.dialect, 1, number))) for peer in able}
        expected = _good(scenario, peers[0], answers[peers[0]])
        for peer in able[1:]:
            # The conventional server has the fields of our own documents only.
            if peer.name == "conventional" and "errors" in answers[peer] and not documents_are_ours:
                able = [other for other in able if other is not peer]
                break
            _compare(scenario, peer, expected, _good(scenario, peer, answers[peer]))
    return able


def _answer(peer: Peer, ask: Ask) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=30)
    try:
        body = json.dumps({"query": ask.query, "variables": ask.variables})
        headers = {
            "Authorization": f"Bearer {ask.caller.token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        connection.request("POST", "/graphql", body, headers)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()


def _good(scenario: Scenario, peer: Peer, answer: dict[str, Any]) -> Any:
    if "errors" in answer or answer.get("data") is None:
        raise BenchError(
            f"{peer.title} answers the document `{scenario.name}` with {json.dumps(answer)[:500]}"
        )
    return answer["data"]


def _compare(scenario: Scenario, peer: Peer, expected: Any, found: Any) -> None:
    difference = _difference(expected, found, "data")
    if difference is not None:
        raise BenchError(
            f"{peer.title} gives another answer to the document `{scenario.name}`, so speeds cannot be compared:\n"
            f"  {difference}"
        )


def _difference(ours: Any, theirs: Any, path: str) -> str | None:
    """Where two answers differ first."""
    match ours, theirs:
        case dict(), dict():
            if ours.keys() != theirs.keys():
                return f"{path}: fields {sorted(ours)} here, {sorted(theirs)} there"
            inside = ((ours[key], theirs[key], f"{path}.{key}") for key in ours)
        case list(), list():
            if len(ours) != len(theirs):
                return f"{path}: {len(ours)} items here, {len(theirs)} there"
            inside = (
                (mine, other, f"{path}[{n}]")
                for n, (mine, other) in enumerate(zip(ours, theirs, strict=True))
            )
        case _:
            return None if _same(ours, theirs) else f"{path}: {ours!r} here, {theirs!r} there"
    return next((found for pair in inside if (found := _difference(*pair)) is not None), None)


def _same(ours: Any, theirs: Any) -> bool:
    if ours == theirs:
        return type(ours) is type(theirs) or not isinstance(ours, bool)
    if not isinstance(ours, str) or not isinstance(theirs, str):
        return False
    if _TIME.fullmatch(ours) and _TIME.fullmatch(theirs):
        return datetime.fromisoformat(ours) == datetime.fromisoformat(theirs)
    return _ENUM_VALUE.fullmatch(ours) is not None and ours.lower() == theirs
