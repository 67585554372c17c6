"""What a GET asks for, and the signed address of the next page."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from resolvers.errors import ApiError
from resolvers.identity import Identity
from resolvers.plan import Statement
from resolvers.xapi.statements import iri, timestamp, uuid

MOST_ON_A_PAGE = 100

_ONE = ("statementId", "voidedStatementId")
_FILTERS = {"verb": iri, "activity": iri, "since": timestamp, "until": timestamp}
_LISTING = (*_FILTERS, "limit", "ascending", "more")
# Those of which only the usual value is known.
_USUAL = {"format": "exact", "attachments": "false"}
_BOOLEANS = {"true": True, "false": False}


class Question(NamedTuple):
    """One statement by its id, or a page of them: `asked` goes to the database."""

    statement_id: str | None
    is_voided: bool
    asked: dict[str, Any]

    def statement(self) -> Statement:
        if self.statement_id is not None:
            parameters = [self.statement_id, "true" if self.is_voided else "false"]
            return Statement("select private.read_statement($1::uuid, $2::boolean)", parameters)
        return Statement("select private.read_statements($1::jsonb)", [orjson.dumps(self.asked).decode()])


def question(parameters: Mapping[str, str], identity: Identity, secret: bytes) -> Question:
    """Raises BAD_USER_INPUT for what this server does not know, rather than answer something else."""
    known = (*_ONE, *_LISTING, *_USUAL)
    for name in parameters:
        if name not in known:
            raise _refused(name, f"The parameter is not supported here. Those are: {', '.join(known)}.")
    for name, usual in _USUAL.items():
        if parameters.get(name, usual) != usual:
            raise _refused(name, f"Of {name}, only {usual} is supported here.")
    ids = [name for name in _ONE if name in parameters]
    if not ids:
        return Question(None, False, _listing(parameters, identity, secret))
    if len(ids) > 1 or any(name in parameters for name in _LISTING):
        raise _refused(ids[0], "An id stands alone: leave out the other parameters.")
    uuid(parameters[ids[0]], ids[0])
    return Question(parameters[ids[0]], ids[0] == "voidedStatementId", {})


def address_of_more(asked: Mapping[str, Any], keys: bytes, identity: Identity, secret: bytes) -> str:
    """Where the page behind these keys is: only for who asked, and with what they asked."""
    text = orjson.dumps({**asked, "after": orjson.loads(keys)})
    signed = _signature(text, identity, secret) + text
    return f"/xapi/statements?more={base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"


def _listing(parameters: Mapping[str, str], identity: Identity, secret: bytes) -> dict[str, Any]:
    if "more" in parameters:
        if len(parameters) > 1:
            raise _refused("more", "more stands alone: it holds what was asked for.")
        return _read_more(parameters["more"], identity, secret)
    asked: dict[str, Any] = {}
    for name, check in _FILTERS.items():
        if name in parameters:
            check(parameters[name], name)
            asked[name] = parameters[name]
    if (ascending := parameters.get("ascending", "false")) not in _BOOLEANS:
        raise _refused("ascending", "ascending is true or false.")
    asked["ascending"] = _BOOLEANS[ascending]
    asked["limit"] = _limit(parameters.get("limit", "0"))
    return asked


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _refused("limit", "limit is a whole number from 0, which is as many as there can be.")
    return min(int(text[:9]) or MOST_ON_A_PAGE, MOST_ON_A_PAGE)


def _read_more(more: str, identity: Identity, secret: bytes) -> dict[str, Any]:
    try:
        signed = base64.b64decode(more.encode("ascii") + b"==", altchars=b"-_", validate=False)
    except (UnicodeEncodeError, binascii.Error):
        signed = b""
    signature, text = signed[:32], signed[32:]
    if not hmac.compare_digest(signature, _signature(text, identity, secret)):
        raise _refused("more", "more is not of a list of yours. Use it as it came.")
    asked: dict[str, Any] = orjson.loads(text)
    return asked


def _signature(text: bytes, identity: Identity, secret: bytes) -> bytes:
    who = f"xapi {identity.community_id} {identity.user_id} ".encode()
    return hmac.digest(secret, who + text, "sha256")


def _refused(name: str, message: str) -> ApiError:
    return ApiError("BAD_USER_INPUT", message, field=name)
