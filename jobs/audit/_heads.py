"""The signed end of a chain, and the key that signs it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from jobs.audit._entries import GENESIS, AuditError, Connection

_COLUMNS = (
    "community_id, number, sequence, hash, upto_xid::text, upto_id, sealed_at, restored,"
    " key_id, public_key, signature"
)
_OF = f"select {_COLUMNS} from private.audit_heads where community_id = %s order by number"  # noqa: S608 - names above
_LAST = f"select {_COLUMNS} from private.last_audit_head(%s)"  # noqa: S608 - names above
_APPEND = """
select private.append_audit_seals(
    (%s, %s, %s, %s, %s::xid8, %s, %s, %s, %s, %s, %s)::private.audit_heads, %s::text[]::xid8[], %s::uuid[], %s::bytea[]
)
"""
_FIRST_ID = UUID(int=0)
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Head:
    """How far a chain went at one moment. There are no entries up to `upto` but those that are sealed."""

    community: UUID
    number: int = 0
    sequence: int = 0
    hash: bytes = GENESIS
    upto_xid: int = 0
    upto_id: UUID = _FIRST_ID
    sealed_at: datetime = _NEVER
    restored: bool = False
    key_id: str = ""
    public_key: bytes = b""
    signature: bytes = b""

    @property
    def upto(self) -> tuple[int, UUID]:
        return self.upto_xid, self.upto_id

    @property
    def signed_text(self) -> bytes:
        text = self.as_json() | {"kind": "audit head 1"}
        del text["signature"]
        return json.dumps(text, sort_keys=True, separators=(",", ":")).encode()

    def is_genuine(self) -> bool:
        """Whether the key that it names has signed it."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(self.signature, self.signed_text)
        except (InvalidSignature, ValueError):
            return False
        return self.key_id == key_id(self.public_key)

    def as_json(self) -> dict[str, Any]:
        return {
            "community": str(self.community),
            "number": self.number,
            "sequence": self.sequence,
            "hash": self.hash.hex(),
            "uptoXid": str(self.upto_xid),
            "uptoId": str(self.upto_id),
            "sealedAt": self.sealed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "restored": self.restored,
            "keyId": self.key_id,
            "publicKey": self.public_key.hex(),
            "signature": self.signature.hex(),
        }

    @classmethod
    def from_json(cls, text: dict[str, Any]) -> Self:
        return cls(
            UUID(text["community"]),
            int(text["number"]),
            int(text["sequence"]),
            bytes.fromhex(text["hash"]),
            int(text["uptoXid"]),
            UUID(text["uptoId"]),
            datetime.fromisoformat(text["sealedAt"]),
            bool(text["restored"]),
            str(text["keyId"]),
            bytes.fromhex(text["publicKey"]),
            bytes.fromhex(text["signature"]),
        )


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 key."""

    private: Ed25519PrivateKey

    @classmethod
    def read(cls, pem_or_file: str) -> Self:
        """From PEM, or from a file that holds it."""
        try:
            key = load_pem_private_key(_pem(pem_or_file), password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise AuditError(
                "The audit key is no Ed25519 private key in PEM without a password. "
                "Make one: openssl genpkey -algorithm ed25519"
            )
        return cls(key)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def public_pem(self) -> str:
        return (
            self.private.public_key()
            .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            .decode()
            .strip()
        )

    def sign(self, head: Head) -> Head:
        named = replace(head, public_key=self.public, key_id=key_id(self.public))
        return replace(named, signature=self.private.sign(named.signed_text))


def key_id(public_key: bytes) -> str:
    return sha256(public_key).hexdigest()[:16]


def read_public_key(pem_or_file: str) -> bytes:
    """The raw bytes of a public key, from PEM or from a file that holds it."""
    try:
        key = load_pem_public_key(_pem(pem_or_file))
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise AuditError("That is no Ed25519 public key in PEM. It is what `audit public-key` prints.")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _pem(pem_or_file: str) -> bytes:
    if "-----BEGIN" in pem_or_file:
        return pem_or_file.replace("\\n", "\n").encode()
    try:
        return Path(pem_or_file).read_bytes()
    except OSError as error:
        raise AuditError(f"The key cannot be read from {pem_or_file}: {error.strerror}.") from None


def heads_of(connection: Connection, community: UUID) -> list[Head]:
    """All of a community, the oldest first."""
    return [_head(row) for row in connection.execute(_OF, [community])]


def last_head(connection: Connection, community: UUID) -> Head:
    """The newest of a community; before the first, one that comes before everything."""
    row = connection.execute(_LAST, [community]).fetchone()
    return _head(row) if row else Head(community)


def store(connection: Connection, head: Head, seals: Sequence[tuple[str, UUID, bytes]]) -> None:
    """Appends a batch of seals, each (xid, id of the entry, hash), and the head that ends it."""
    connection.execute(
        _APPEND,
        [
            *(head.community, head.number, head.sequence, head.hash, str(head.upto_xid), head.upto_id),
            *(head.sealed_at, head.restored, head.key_id, head.public_key, head.signature),
            *([seal[part] for seal in seals] for part in range(3)),
        ],
    )


def _head(row: tuple[Any, ...]) -> Head:
    community, number, sequence, hashed, upto_xid, upto_id, *rest = row
    return Head(community, number, sequence, hashed, int(upto_xid), upto_id, *rest)


def read_heads(file: Path) -> list[Head]:
    """What `audit heads` printed, kept elsewhere: a JSON object a line."""
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise AuditError(f"The heads cannot be read from {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise AuditError(
            f"{file} is no text, so it has no heads. They are what `audit heads` prints."
        ) from None
    heads = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                heads.append(Head.from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError, RecursionError):
                raise AuditError(
                    f"{file}, line {number}: that is no head of an audit log. It is what `audit heads` prints."
                ) from None
    return heads
