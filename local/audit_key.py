"""The key that signs the audit log's heads on this machine."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from local._files import write_private

_FILE = "audit-signing-key.pem"


def audit_key_file(directory: Path) -> Path:
    """That of this DATA_DIR; made on the first call."""
    path = directory / _FILE
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        directory.mkdir(parents=True, exist_ok=True)
        write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    return path
