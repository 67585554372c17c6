"""What signatures are verified with: keys, each bound to the one algorithm it may be used for."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from jwt import InvalidKeyError
from jwt.algorithms import get_default_algorithms

_KEY_ID = re.compile(r"[\x21-\x7e]{1,200}")

# What a public key is decides its algorithm. HMAC is missing on purpose: its secret comes from settings only.
_ALGORITHM_OF = {("EC", "P-256"): "ES256", ("RSA", None): "RS256", ("OKP", "Ed25519"): "EdDSA"}
PUBLIC_KEY_ALGORITHMS = tuple(_ALGORITHM_OF.values())
_ALGORITHMS = {name: get_default_algorithms()[name] for name in (*PUBLIC_KEY_ALGORITHMS, "HS256")}

_MIN_SECRET_BYTES = 32
_PUBLISHED_SECRETS = {
    "super-secret-jwt-token-with-at-least-32-characters-long",  # Supabase CLI
    "your-super-secret-jwt-token-with-at-least-32-characters-long",  # Supabase's Docker example
    "reallyreallyreallyreallyverysafe",  # PostgREST's tutorial
    "a-string-secret-at-least-256-bits-long",  # jwt.io
}


@dataclass(frozen=True, slots=True)
class Key:
    algorithm: str
    material: Any

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        return _ALGORITHMS[self.algorithm].verify(message, self.material, signature)


def is_key_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _KEY_ID.fullmatch(value) is not None


def shared_secret(secret: str, issuer: str) -> Key:
    """The HS256 key of a legacy or self-hosted project; `ValueError` for one that others can guess."""
    if len(secret.encode()) < _MIN_SECRET_BYTES or not secret.strip():
        raise ValueError(
            f"JWT_SECRET is too short: it needs {_MIN_SECRET_BYTES} bytes or more. Unset it to refuse HS256."
        )
    if secret in _PUBLISHED_SECRETS and not _is_loopback(issuer):
        raise ValueError(
            "JWT_SECRET is a published example, so anybody can sign tokens with it: set the project's own. "
            "It is accepted only while JWT_ISSUER is on this machine, as with `supabase start`."
        )
    try:
        return Key("HS256", _ALGORITHMS["HS256"].prepare_key(secret))
    except InvalidKeyError:
        raise ValueError("JWT_SECRET holds a public key; set JWKS_URL to verify with public keys.") from None


def public_keys(jwks: Mapping[str, Any]) -> dict[str, Key]:
    """The usable keys of a JSON Web Key Set, by key id. Others are passed over, as RFC 7517 asks."""
    keys = jwks.get("keys")
    if not isinstance(keys, list):
        raise ValueError("Not a JSON Web Key Set: `keys` is not a list.")
    return {jwk["kid"]: key for jwk in keys if (key := _public_key(jwk)) is not None}


def _public_key(jwk: Any) -> Key | None:
    try:
        algorithm = _ALGORITHM_OF[jwk["kty"], jwk.get("crv")]
        if not _is_for_verifying(jwk, algorithm) or not is_key_id(jwk["kid"]):
            return None
        material = _ALGORITHMS[algorithm].from_jwk(jwk)
        too_short = _ALGORITHMS[algorithm].check_key_length(material)
    except (InvalidKeyError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return None if too_short else Key(algorithm, material)


def _is_for_verifying(jwk: Mapping[str, Any], algorithm: str) -> bool:
    return (
        jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and "verify" in jwk.get("key_ops", ["verify"])
        and "d" not in jwk  # a private key that was published is nobody's any more
    )


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
