"""What a well-formed statement is (xAPI 1.0.3, part 2). The first thing that is wrong is told, with its place."""

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from resolvers.errors import ApiError, shortened

VOIDED = "http://adlnet.gov/expapi/verbs/voided"
MOST_STATEMENTS = 500

# Of keys that the database looks up, in bytes; an index holds no more than some.
_LONGEST_IRI = 2_000
_DEEPEST = 100
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# Best effort, as the specification has it: a scheme, and nothing that an IRI cannot have.
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[^\s<>\"{}|\\^`\x00-\x20]+")
_MAILTO = re.compile(r"mailto:[^\s@]+@[^\s@]+")
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")
_SHA2 = re.compile(r"[0-9a-fA-F]{56,128}")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
_VERSION = re.compile(r"(1\.0(\.\d+)?|2\.0(\.\d+)?)", re.ASCII)
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?", re.IGNORECASE | re.ASCII
)
# RFC 3339: that the zone is unknown, which no statement may say.
_UNKNOWN_ZONE = re.compile(r"-00(:?00)?$")
_DURATION = re.compile(
    r"P(\d+(\.\d+)?W|(?=.)(\d+(\.\d+)?Y)?(\d+(\.\d+)?M)?(\d+(\.\d+)?D)?"
    r"(T(?=.)(\d+(\.\d+)?H)?(\d+(\.\d+)?M)?(\d+(\.\d+)?S)?)?)",
    re.ASCII,
)
_IDENTIFIERS = ("mbox", "mbox_sha1sum", "openid", "account")
_INTERACTIONS = frozenset(
    {"true-false", "choice", "fill-in", "long-fill-in", "matching", "performance"}
    | {"sequencing", "likert", "numeric", "other"}
)

Check = Callable[[Any, str], None]


def parsed(body: bytes | bytearray) -> Any:
    """The JSON of a body. No key may stand twice in an object, and nothing be too deep or too large to be stored."""
    try:
        orjson.loads(body)
        value = json.loads(body, object_pairs_hook=_once)
        _look_through(value, "")
    except orjson.JSONDecodeError as error:
        raise ApiError("BAD_USER_INPUT", f"The body is not JSON in UTF-8: {error}.") from None
    except RecursionError:
        raise _too_deep("") from None
    return value


def check_body(value: Any, given_id: str | None) -> None:
    """Raises BAD_USER_INPUT for the first thing in one statement, or in a list of them, that may not be so."""
    if not isinstance(value, list):
        _statement(value, "")
        _check_id(value, given_id)
        return
    if given_id is not None:
        raise ApiError("BAD_USER_INPUT", "Send one statement by PUT, or a list by POST.")
    if len(value) > MOST_STATEMENTS:
        raise ApiError("BAD_USER_INPUT", f"Send up to {MOST_STATEMENTS} statements at once.")
    for place, statement in enumerate(value):
        _statement(statement, str(place))


def uuid(value: Any, place: str) -> None:
    _matching(_UUID, "a UUID")(value, place)


def iri(value: Any, place: str) -> None:
    _matching(_IRI, "an IRI with its scheme")(value, place)
    if len(value.encode()) > _LONGEST_IRI:
        raise wrong(place, f"is longer than {_LONGEST_IRI} bytes.")


def timestamp(value: Any, place: str) -> None:
    _matching(_TIMESTAMP, "a timestamp, as 2026-10-01T09:00:00Z")(value, place)
    if _UNKNOWN_ZONE.search(value):
        raise wrong(place, "has the zone -00:00, which says that it is unknown. Name the zone, or Z.")
    try:
        # Without the fraction of a second, of which there may be more digits than it reads.
        datetime.fromisoformat(re.sub(r"\.\d+", "", value.upper()))
    except ValueError:
        raise wrong(place, "is no moment that there is.") from None


def wrong(place: str, what: str) -> ApiError:
    """An error about a place in the statement."""
    field = {"field": shortened(place)} if place else {}
    return ApiError("BAD_USER_INPUT", shortened(f"{place or 'The statement'} {what}"), **field)


def _check_id(statement: Mapping[str, Any], given_id: str | None) -> None:
    own = statement.get("id")
    if given_id is not None and own is not None and UUID(own) != UUID(given_id):
        raise wrong("id", "is not the statementId of the URL.")


# What is in all of it


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise wrong(twice, "stands twice in one object. Send each key once.")
    return found


def _look_through(value: Any, place: str, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise _too_deep(place)
    if isinstance(value, dict):
        for key, inner in value.items():
            if "\x00" in key:
                raise wrong(place, "has a key with a NUL character. Remove it.")
            _look_through(inner, _inside(place, key), depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _look_through(inner, _inside(place, str(number)), depth + 1)
    elif isinstance(value, str) and "\x00" in value:
        raise wrong(place, "contains a NUL character. Remove it.")


def _too_deep(place: str) -> ApiError:
    return wrong(place[:100], f"is nested more than {_DEEPEST} deep. Flatten it.")


def _inside(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


# Kinds of values


def _matching(pattern: re.Pattern[str], what: str) -> Check:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise wrong(place, f"is not {what}.")

    return check


def _of_type(types: type | tuple[type, ...], what: str) -> Check:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise wrong(place, f"is not {what}.")

    return check


_text = _of_type(str, "a string")
_boolean = _of_type(bool, "a boolean")
_number = _of_type((int, float), "a number")
_integer = _of_type(int, "a whole number")


def _one_of(*values: str) -> Check:
    def check(value: Any, place: str) -> None:
        if value not in values:
            raise wrong(place, f"is not {' or '.join(values)}.")

    return check


def _object(known: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise wrong(place, "is not an object.")
        for key in required:
            if key not in value:
                raise wrong(_inside(place, key), "is missing.")
        for key, inner in value.items():
            if key not in known:
                raise wrong(_inside(place, key), "is nothing that xAPI knows here.")
            known[key](inner, _inside(place, key))

    return check


def _list_of(each: Check) -> Check:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, list):
            raise wrong(place, "is not a list.")
        for number, inner in enumerate(value):
            each(inner, _inside(place, str(number)))

    return check


def _map_of(key_pattern: re.Pattern[str], what: str, each: Check) -> Check:
    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise wrong(place, "is not an object.")
        for key, inner in value.items():
            if not key_pattern.fullmatch(key):
                raise wrong(_inside(place, key), f"has a key that is not {what}.")
            each(inner, _inside(place, key))

    return check


def _anything(value: Any, place: str) -> None:
    """What is in extensions is nobody's business but theirs."""


_texts_by_language = _map_of(_LANGUAGE, "a language tag", _text)
_extensions = _map_of(_IRI, "an IRI", _anything)
_duration = _matching(_DURATION, "an ISO 8601 duration")

# Agents and groups

_AGENT_KEYS: dict[str, Check] = {
    "objectType": _text,
    "name": _text,
    "mbox": _matching(_MAILTO, "an address, as mailto:ada@example.org"),
    "mbox_sha1sum": _matching(_SHA1, "a SHA-1 sum in hexadecimal"),
    "openid": iri,
    "account": _object({"homePage": iri, "name": _text}, ("homePage", "name")),
}
_agent_object = _object(_AGENT_KEYS)


def _agent(value: Any, place: str) -> None:
    _agent_object(value, place)
    if value.get("objectType", "Agent") != "Agent":
        raise wrong(_inside(place, "objectType"), "is not Agent.")
    if len(value.keys() & set(_IDENTIFIERS)) != 1:
        raise wrong(place, f"does not have exactly one of {', '.join(_IDENTIFIERS)}.")


_group_object = _object({**_AGENT_KEYS, "member": _list_of(_agent)})


def _group(value: Any, place: str) -> None:
    _group_object(value, place)
    if value.get("objectType") != "Group":
        raise wrong(_inside(place, "objectType"), "is not Group.")
    identifiers = len(value.keys() & set(_IDENTIFIERS))
    if identifiers > 1:
        raise wrong(place, f"has more than one of {', '.join(_IDENTIFIERS)}.")
    if not identifiers and not value.get("member"):
        raise wrong(place, "has neither members nor anything that identifies the group.")


def _agent_or_group(value: Any, place: str) -> None:
    is_group = isinstance(value, dict) and value.get("objectType") == "Group"
    (_group if is_group else _agent)(value, place)


# Objects

_component = _object({"id": _text, "description": _texts_by_language}, ("id",))


def _components(value: Any, place: str) -> None:
    _list_of(_component)(value, place)
    ids = [component["id"] for component in value]
    if len(set(ids)) < len(ids):
        raise wrong(place, "has two components with one id.")


_definition = _object(
    {
        "name": _texts_by_language,
        "description": _texts_by_language,
        "type": iri,
        "moreInfo": iri,
        "extensions": _extensions,
        "interactionType": _one_of(*sorted(_INTERACTIONS)),
        "correctResponsesPattern": _list_of(_text),
        **dict.fromkeys(("choices", "scale", "source", "target", "steps"), _components),
    }
)
_activity = _object({"objectType": _one_of("Activity"), "id": iri, "definition": _definition}, ("id",))
_reference = _object({"objectType": _one_of("StatementRef"), "id": uuid}, ("objectType", "id"))


def _object_of_statement(value: Any, place: str) -> None:
    kind = value.get("objectType", "Activity") if isinstance(value, dict) else "Activity"
    known: dict[Any, Check] = {
        "Activity": _activity,
        "Agent": _agent,
        "Group": _group,
        "StatementRef": _reference,
        "SubStatement": _sub_statement,
    }
    if not isinstance(kind, str) or kind not in known:
        raise wrong(_inside(place, "objectType"), f"is not {' or '.join(known)}.")
    known[kind](value, place)


# Results and contexts

_score_object = _object(dict.fromkeys(("scaled", "raw", "min", "max"), _number))


def _score(value: Any, place: str) -> None:
    _score_object(value, place)
    if not -1 <= value.get("scaled", 0) <= 1:
        raise wrong(_inside(place, "scaled"), "is not from -1 to 1.")
    least, most = value.get("min", -math.inf), value.get("max", math.inf)
    if least >= most:
        raise wrong(_inside(place, "min"), "is not less than max.")
    if "raw" in value and not least <= value["raw"] <= most:
        raise wrong(_inside(place, "raw"), "is not from min to max.")


_result = _object(
    {
        "score": _score,
        "success": _boolean,
        "completion": _boolean,
        "response": _text,
        "duration": _duration,
        "extensions": _extensions,
    }
)


def _activities(value: Any, place: str) -> None:
    """One may stand without its list."""
    (_list_of(_activity) if isinstance(value, list) else _activity)(value, place)


_context = _object(
    {
        "registration": uuid,
        "instructor": _agent_or_group,
        "team": _group,
        "contextActivities": _object(dict.fromkeys(("parent", "grouping", "category", "other"), _activities)),
        # These two came with xAPI 2.0.
        "contextAgents": _list_of(
            _object(
                {
                    "objectType": _one_of("contextAgent"),
                    "agent": _agent,
                    "relevantTypes": _list_of(iri),
                },
                ("objectType", "agent"),
            )
        ),
        "contextGroups": _list_of(
            _object(
                {
                    "objectType": _one_of("contextGroup"),
                    "group": _group,
                    "relevantTypes": _list_of(iri),
                },
                ("objectType", "group"),
            )
        ),
        "revision": _text,
        "platform": _text,
        "language": _matching(_LANGUAGE, "a language tag"),
        "statement": _reference,
        "extensions": _extensions,
    }
)

_attachment = _object(
    {
        "usageType": iri,
        "display": _texts_by_language,
        "description": _texts_by_language,
        "contentType": _text,
        "length": _integer,
        "sha2": _matching(_SHA2, "a SHA-2 sum in hexadecimal"),
        "fileUrl": iri,
    },
    ("usageType", "display", "contentType", "length", "sha2"),
)


def _attachments(value: Any, place: str) -> None:
    _list_of(_attachment)(value, place)
    for number, attachment in enumerate(value):
        if "fileUrl" not in attachment:
            raise wrong(
                f"{place}.{number}.fileUrl",
                "is missing: attachments are not kept here. Keep it elsewhere and say where.",
            )


# Statements

_verb = _object({"id": iri, "display": _texts_by_language}, ("id",))
_PARTS: dict[str, Check] = {
    "actor": _agent_or_group,
    "verb": _verb,
    "object": _object_of_statement,
    "result": _result,
    "context": _context,
    "timestamp": timestamp,
    "attachments": _attachments,
}
_REQUIRED = ("actor", "verb", "object")
_whole = _object(
    {
        **_PARTS,
        "id": uuid,
        "stored": timestamp,
        "authority": _agent_or_group,
        "version": _matching(_VERSION, "1.0.0"),
    },
    _REQUIRED,
)
_part = _object({**_PARTS, "objectType": _one_of("SubStatement")}, ("objectType", *_REQUIRED))


def _statement(value: Any, place: str) -> None:
    _whole(value, place)
    _check_together(value, place)
    if value["verb"]["id"] == VOIDED and value["object"].get("objectType") != "StatementRef":
        raise wrong(_inside(place, "object"), "is no StatementRef. Name the statement that is voided.")


def _sub_statement(value: Any, place: str) -> None:
    _part(value, place)
    _check_together(value, place)
    if value["object"].get("objectType") == "SubStatement":
        raise wrong(_inside(place, "object"), "is a SubStatement in another one.")


def _check_together(value: Mapping[str, Any], place: str) -> None:
    if value["object"].get("objectType", "Activity") != "Activity":
        for key in ("revision", "platform"):
            if key in value.get("context", {}):
                raise wrong(_inside(place, f"context.{key}"), "is for statements about an activity.")
