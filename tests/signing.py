"""Tokens for tests: good ones, and any others with a signature that holds."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from resolvers.errors import ApiError
from resolvers.identity import Identity, Verifier
from resolvers.jwks import KeySet
from resolvers.keys import public_keys
from settings import Settings

NOW = 1_790_000_000
ISSUER = "https://project.example/auth/v1"
USER = "5d2f7b0e-6a0c-4c55-9f0e-3b8a1f4f6c11"
COMMUNITY = "0b4bd3a2-8f5e-4a0e-8c39-6f1f6a3f2d10"
SECRET = "a shared secret of one project, long enough"
CLI_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
ABSENT = type("Absent", (), {"__repr__": lambda _: "absent"})()

ALGORITHMS = get_default_algorithms()
EC_KEY, OTHER_EC_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not ABSENT}


def as_jwk(key: Any, algorithm: str, **changes: Any) -> dict[str, Any]:
    jwk = ALGORITHMS[algorithm].to_jwk(key.public_key(), as_dict=True)
    return present({**jwk, "kid": algorithm.lower(), "alg": algorithm, "use": "sig", **changes})


JWKS = {"keys": [as_jwk(EC_KEY, "ES256"), as_jwk(RSA_KEY, "RS256"), as_jwk(ED_KEY, "EdDSA")]}
SIGNING_KEYS: Mapping[str, Any] = {
    "ES256": EC_KEY,
    "RS256": RSA_KEY,
    "PS256": RSA_KEY,
    "EdDSA": ED_KEY,
    "HS256": SECRET.encode(),
}
VERIFIER = Verifier(issuer=ISSUER, keys=KeySet(public_keys(JWKS)), clock=lambda: NOW)
WITH_SECRET = Verifier(issuer=ISSUER, keys=KeySet(public_keys(JWKS)), secret=SECRET, clock=lambda: NOW)


def encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(segment: str) -> bytes:
    return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def claims(**changes: Any) -> dict[str, Any]:
    usual = {
        "iss": ISSUER,
        "sub": USER,
        "aud": "authenticated",
        "exp": NOW + 3600,
        "iat": NOW,
        "email": "learner@demo.test",
        "app_metadata": {"provider": "email", "community_id": COMMUNITY},
        "user_metadata": {},
        "role": "authenticated",
        "is_anonymous": False,
    }
    return present({**usual, **changes})


def signed(payload: bytes, algorithm: str = "ES256", *, key: Any = None, header: bytes | None = None) -> str:
    """A token over exactly these bytes, with a signature that holds."""
    header = header or json.dumps({"alg": algorithm, "kid": algorithm.lower(), "typ": "JWT"}).encode()
    message = f"{encoded(header)}.{encoded(payload)}"
    signature = ALGORITHMS[algorithm].sign(message.encode(), key or SIGNING_KEYS[algorithm])
    return f"{message}.{encoded(signature)}"


def token(algorithm: str = "ES256", *, key: Any = None, header: Any = None, **changes: Any) -> str:
    raw_header = None if header is None else json.dumps(header).encode()
    return signed(json.dumps(claims(**changes)).encode(), algorithm, key=key, header=raw_header)


async def refusal(*authorization: str, by: Verifier = VERIFIER, because: str = "") -> None:
    """`because` is part of the message: refused for another reason is not refused for this one."""
    with pytest.raises(ApiError) as caught:
        await by.identify(authorization)
    error = caught.value
    assert error.code == "UNAUTHENTICATED"
    assert re.fullmatch(r"[A-Z][^.]+(\.[a-z][^.]+)*\.", error.message), "one sentence"
    assert re.search(because, error.message), error.message
    assert error.__cause__ is None
    for secret in "".join(authorization).split():
        assert len(secret) < 12 or secret not in error.message


async def refusal_of(bad_token: str, because: str = "", *, by: Verifier = VERIFIER) -> None:
    await refusal(f"Bearer {bad_token}", by=by, because=because)


async def accepted(good_token: str, by: Verifier = VERIFIER) -> Identity:
    return await by.identify([f"Bearer {good_token}"])


def environment(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)
