"""Seals the audit log into hash chains with signed heads, and verifies them."""

from jobs.audit._console import print_heads, print_public_key, run_seal, run_verify
from jobs.audit._entries import AuditError
from jobs.audit._heads import Head, SigningKey
from jobs.audit._seal import seal, seal_community
from jobs.audit._verify import Finding, verify

__all__ = [
    "AuditError",
    "Finding",
    "Head",
    "SigningKey",
    "print_heads",
    "print_public_key",
    "run_seal",
    "run_verify",
    "seal",
    "seal_community",
    "verify",
]
