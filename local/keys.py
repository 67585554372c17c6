"""The local platform's keys: one signs access tokens, one tells the sign-in whose client is calling."""

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from local._files import read_private_json, write_private_json
from local.errors import LocalError

ALGORITHM = "ES256"

_FILE = "keys.json"


@dataclass(frozen=True)
class Keys:
    """A P-256 key as JWK, private part included, and the publishable key."""

    private_jwk: dict[str, Any]
    publishable_key: str

    @classmethod
    def make_once(cls, directory: Path) -> Self:
        """Those of this DATA_DIR; made on the first call."""
        if not (directory / _FILE).exists():
            keys = {
                "signing_key": _new_jwk(),
                "publishable_key": f"sb_publishable_{secrets.token_urlsafe(24)}",
            }
            write_private_json(directory / _FILE, keys)
        return cls.load(directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        keys = read_private_json(directory / _FILE)
        if keys is None:
            raise LocalError(f"There are no keys in {directory} yet. Start the server first: make run")
        try:
            return cls(dict(keys["signing_key"]), str(keys["publishable_key"]))
        except (KeyError, TypeError, ValueError):
            message = f"{directory / _FILE} is damaged. Delete it: new keys are made, and all sign in again."
            raise LocalError(message) from None

    @property
    def kid(self) -> str:
        return str(self.private_jwk["kid"])

    @cached_property
    def jwks(self) -> dict[str, Any]:
        """The document that verifiers fetch: the public part only."""
        public = {name: self.private_jwk[name] for name in ("kty", "crv", "x", "y", "kid")}
        return {"keys": [public | {"alg": ALGORITHM, "use": "sig", "key_ops": ["verify"], "ext": True}]}

    @cached_property
    def _signing_key(self) -> Any:
        return ECAlgorithm.from_jwk(self.private_jwk)

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._signing_key, ALGORITHM, {"kid": self.kid})

    def verified(self, token: str, issuer: str) -> dict[str, Any]:
        """The claims of a token that was signed here; `jwt.InvalidTokenError` for any other."""
        return jwt.decode(
            token,
            self._signing_key.public_key(),
            [ALGORITHM],
            audience="authenticated",
            issuer=issuer,
            options={"require": ["exp", "sub", "session_id"]},
        )

    def accepts(self, api_key: str) -> bool:
        return hmac.compare_digest(api_key.encode(), self.publishable_key.encode())


def _new_jwk() -> dict[str, Any]:
    key = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return {**key, "kid": _thumbprint(key), "alg": ALGORITHM, "use": "sig"}


def _thumbprint(key: dict[str, Any]) -> str:
    """RFC 7638: the hash of the members that make the key, in alphabetical order."""
    members = json.dumps({name: key[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).rstrip(b"=").decode()
