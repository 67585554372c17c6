"""Who is asking? Turns an `Authorization` header into a role and claims that Postgres can be given."""

import hashlib
import math
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self
from uuid import UUID

from resolvers.cache import Cache
from resolvers.claims import Rules, check_not_expired, is_anonymous_key, refused, take_community
from resolvers.jwks import KeySet, PublishedKeySet
from resolvers.keys import PUBLIC_KEY_ALGORITHMS, Key, is_key_id, public_keys, shared_secret
from resolvers.tokens import MalformedError, canonical, parse_object, take_apart
from settings import Settings

# A token is about two hundred bytes here, its claims a thousand.
MOST_VERIFIED = 10_000

_BEARER = re.compile(r"(?i:bearer) ([\x21-\x7e]+)")
_PUBLISHABLE_KEY = re.compile(r"sb_publishable_[\w-]+", re.ASCII)
# These bring a key along, or change what the signature covers.
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64"})


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller. `community_id` is what the token claims; the database decides whether it holds."""

    role: Literal["anon", "authenticated"]
    claims: str
    user_id: UUID | None
    community_id: UUID | None
    expires_at: float


ANONYMOUS = Identity("anon", "", None, None, math.inf)


class Verifier:
    """Verifies one project's access tokens. What it does not accept is `UNAUTHENTICATED`, never anonymous."""

    def __init__(
        self,
        *,
        issuer: str,
        keys: KeySet | None = None,
        secret: str | None = None,
        audience: str = "authenticated",
        max_age_seconds: int = 86_400,
        allowed_clients: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        if keys is None and secret is None:
            raise ValueError("No key verifies tokens: set SUPABASE_URL, JWKS_URL or JWT_SECRET.")
        if not audience:
            raise ValueError("JWT_AUDIENCE is empty. Leave it out: tokens are for `authenticated` then.")
        if not issuer:
            raise ValueError(
                "Set JWT_ISSUER too (or SUPABASE_URL), like https://example.org/auth/v1: tokens are checked against it."
            )
        self._keys = keys
        self._secret = None if secret is None else shared_secret(secret, issuer)
        self._rules = Rules(issuer, audience, max_age_seconds, frozenset(allowed_clients))
        self._clock = clock
        self._verified: Cache[bytes, tuple[Identity, object]] = Cache(MOST_VERIFIED, MOST_VERIFIED)

    @classmethod
    def from_settings(
        cls, settings: Settings, *, issuer: str = "", jwks: Mapping[str, Any] | None = None
    ) -> Self:
        """`issuer` and `jwks` are the local sign-in's; they count where the settings name no project."""
        auth = f"{settings.supabase_url.rstrip('/')}/auth/v1" if settings.supabase_url else None
        jwks_url = settings.jwks_url or (auth and f"{auth}/.well-known/jwks.json")
        secret = settings.jwt_secret
        return cls(
            issuer=settings.jwt_issuer or auth or issuer,
            keys=_key_set(jwks_url, jwks, may_be_empty=secret is not None),
            secret=secret,
            audience=settings.jwt_audience,
            max_age_seconds=settings.jwt_max_age_seconds,
            allowed_clients=settings.jwt_allowed_clients,
        )

    @property
    def ready(self) -> bool:
        return self._keys is None or self._keys.ready

    async def open(self) -> None:
        if self._keys is not None:
            await self._keys.open()

    async def close(self) -> None:
        if self._keys is not None:
            await self._keys.close()

    async def identify(self, authorization: Sequence[str]) -> Identity:
        """The caller, from the values of all `Authorization` headers of a request."""
        if not authorization:
            return ANONYMOUS
        bearer = _BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None
        if bearer is None:
            raise refused(
                "Send one Authorization header, `Bearer <access token>`; leave it out to ask anonymously."
            )
        return await self.verify(bearer[1])

    async def verify(self, token: str) -> Identity:
        # By digest: no token stays in memory longer than its request.
        digest = hashlib.sha256(token.encode("utf-8", "backslashreplace")).digest()
        known = self._known(digest)
        if known is not None:
            return known
        if _PUBLISHABLE_KEY.fullmatch(token):
            return ANONYMOUS
        if token.startswith("sb_secret_"):
            raise refused("Secret keys are not accepted here; send the token of a signed-in user.")
        try:
            identity = await self._verify_signed(token)
            self._verified.keep(digest, (identity, self._current_keys), 1)
            return identity
        except MalformedError:
            raise refused("The access token is malformed; sign in again for a new one.") from None

    @property
    def _current_keys(self) -> object:
        return None if self._keys is None else self._keys.current

    def _known(self, digest: bytes) -> Identity | None:
        """The caller of a token that was verified before, while it has not expired and the keys are the same."""
        identity, keys = self._verified.find(digest) or (None, None)
        if identity is None or keys is not self._current_keys or identity.expires_at <= self._clock():
            return None
        return identity

    async def _verify_signed(self, token: str) -> Identity:
        parts = take_apart(token)
        key = await self._key_for(parts.header)
        if key is None or not key.has_signed(parts.signed, parts.signature):
            raise refused(
                "The access token is not signed by a key of this project; sign in again for a new one."
            )
        return self._identity(parse_object(parts.payload), key)

    async def _key_for(self, header: dict[str, Any]) -> Key | None:
        """The key that the header names, if it is for the algorithm that the header names."""
        algorithm, kid = header.get("alg"), header.get("kid")
        if not _REFUSED_HEADERS.isdisjoint(header):
            return None
        if algorithm == "HS256" and ("kid" not in header or is_key_id(kid)):
            return self._secret
        if self._keys is None or algorithm not in PUBLIC_KEY_ALGORITHMS or not is_key_id(kid):
            return None
        key = await self._keys.find(kid)
        return key if key is not None and key.algorithm == algorithm else None

    def _identity(self, claims: dict[str, Any], key: Key) -> Identity:
        now = self._clock()
        if key is self._secret and is_anonymous_key(claims):
            check_not_expired(claims, now)
            return ANONYMOUS
        self._rules.check(claims, now)
        community_id = take_community(claims)
        return Identity(
            "authenticated", canonical(claims), UUID(claims["sub"]), community_id, float(claims["exp"])
        )


def _key_set(url: str | None, jwks: Mapping[str, Any] | None, *, may_be_empty: bool) -> KeySet | None:
    if url:
        # A project that still signs with its secret publishes an empty set; for any other that is a fault.
        return PublishedKeySet(url, may_be_empty=may_be_empty)
    if jwks is None:
        return None
    keys = public_keys(jwks)
    if not keys:
        raise ValueError("The key set has no public key that tokens could be verified with.")
    return KeySet(keys)
