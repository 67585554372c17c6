"""Takes a signed token apart, more strictly than JWT libraries do.

They accept repeated names, byte order marks and UTF-16, so two readers of one token could read two things.
"""

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson

MAX_TOKEN_LENGTH = 32 * 1024

_THREE_SEGMENTS = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class MalformedError(ValueError):
    """Not the shape that a token, or a JSON object in it, must have."""


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token in its parts. The payload stays bytes until its signature has been checked."""

    header: dict[str, Any]
    payload: bytes
    signed: bytes
    signature: bytes


def take_apart(token: str) -> SignedToken:
    segments = _THREE_SEGMENTS.fullmatch(token) if len(token) <= MAX_TOKEN_LENGTH else None
    if segments is None:
        raise MalformedError
    header, payload, signature = segments.groups()
    return SignedToken(
        header=parse_object(_decode(header)),
        payload=_decode(payload),
        signed=f"{header}.{payload}".encode(),
        signature=_decode(signature),
    )


def parse_object(text: bytes) -> dict[str, Any]:
    """The JSON object in `text`: UTF-8, every name once, numbers finite."""
    try:
        value = _decoder.decode(text.decode())
    except (ValueError, RecursionError):
        raise MalformedError from None
    if not isinstance(value, dict):
        raise MalformedError
    return value


def canonical(value: dict[str, Any]) -> str:
    """One JSON text per value, and only what Postgres can hold as `jsonb`.

    orjson refuses what else could fail there: lone surrogates, huge integers, nesting beyond 254 levels.
    """
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        raise MalformedError from None
    if _NUL.search(text):
        raise MalformedError
    return text


def _decode(segment: str) -> bytes:
    try:
        raw = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        raise MalformedError from None
    # The last character can carry unused bits, which would give one token several spellings.
    if urlsafe_b64encode(raw).rstrip(b"=") != segment.encode():
        raise MalformedError
    return raw


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedError
    return value


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise MalformedError
    return number


def _no_constant(_: str) -> NoReturn:
    raise MalformedError


_decoder = json.JSONDecoder(
    object_pairs_hook=_each_name_once, parse_float=_finite, parse_constant=_no_constant
)
