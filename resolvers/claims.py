"""What a token must claim before it is believed. Its signature has been checked by then."""

import re
from dataclasses import dataclass
from typing import Any, TypeGuard
from uuid import UUID

from resolvers.errors import ApiError

LEEWAY_SECONDS = 30

# As Postgres prints them: whatever else its cast accepts has no place in a token.
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def refused(message: str) -> ApiError:
    return ApiError("UNAUTHENTICATED", message)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decides: whose tokens, how long they may live, which OAuth clients may bring them."""

    issuer: str
    audience: str
    max_age_seconds: int
    allowed_clients: frozenset[str]

    def check(self, claims: dict[str, Any], now: float) -> None:
        check_not_expired(claims, now)
        _check_person(claims)
        self._check_start(claims, now)
        self._check_origin(claims)
        self._check_client(claims)

    def _check_start(self, claims: dict[str, Any], now: float) -> None:
        issued = claims.get("iat", int(now))
        for start in (issued, claims.get("nbf", 0)):
            if not _is_time(start) or start > now + LEEWAY_SECONDS:
                raise refused(
                    "The access token is not valid yet; correct the clock of the server that issues tokens."
                )
        if claims["exp"] - issued > self.max_age_seconds:
            raise refused(
                "The access token lives longer than this server accepts; "
                "shorten the project's token lifetime or raise JWT_MAX_AGE_SECONDS."
            )

    def _check_origin(self, claims: dict[str, Any]) -> None:
        # A token for several audiences was not made for this API: the list may hold ours only.
        if claims.get("iss") != self.issuer or claims.get("aud") not in (self.audience, [self.audience]):
            raise refused(
                "The access token was issued by another project or for another audience; "
                "sign in to the project of this server."
            )

    def _check_client(self, claims: dict[str, Any]) -> None:
        if "client_id" not in claims:
            return
        client = claims["client_id"]
        if not isinstance(client, str) or client not in self.allowed_clients:
            raise refused(
                "Tokens of this OAuth client are not accepted; sign in directly, or have the client added to "
                "JWT_ALLOWED_CLIENTS."
            )


def check_not_expired(claims: dict[str, Any], now: float) -> None:
    expires = claims.get("exp")
    if not _is_time(expires):
        raise refused("The access token does not say when it expires; sign in again for a new one.")
    if expires <= now - LEEWAY_SECONDS:
        raise refused("The access token has expired; refresh it or sign in again.")


def is_anonymous_key(claims: dict[str, Any]) -> bool:
    """The public API key of a legacy project is a token, too, and names nobody."""
    return claims.get("role") == "anon" and "sub" not in claims


def take_community(claims: dict[str, Any]) -> UUID | None:
    """The community that is claimed. Anonymous users are members of none, so theirs leaves the claims.

    Policies cast it to a UUID: a malformed one would make every query fail, so it is refused here.
    """
    metadata = claims.get("app_metadata")
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise refused(
            "The access token's app_metadata is not an object; have it corrected and sign in again."
        )
    if claims.get("is_anonymous"):
        metadata.pop("community_id", None)
    community = metadata.get("community_id")
    if community is not None and not _is_uuid(community):
        raise refused("The access token's community_id is not a UUID; have it corrected and sign in again.")
    return None if community is None else UUID(community)


def _check_person(claims: dict[str, Any]) -> None:
    if claims.get("role") != "authenticated":
        raise refused("The access token's role is not accepted here; send the token of a signed-in user.")
    if not _is_uuid(claims.get("sub")):
        raise refused("The access token does not name a user; sign in again for a new one.")
    if not isinstance(claims.get("is_anonymous", False), bool):
        raise refused("The access token's is_anonymous is not a boolean; sign in again for a new one.")


def _is_time(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0  # `True` is an int, too


def _is_uuid(value: object) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None
