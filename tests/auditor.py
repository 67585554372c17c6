"""The auditor of the GraphQL over HTTP specification, from npm."""

import json
import subprocess
from pathlib import Path
from typing import TypedDict

from tests.npm_packages import installed

_SOURCE = Path(__file__).parent / "graphql_over_http"


class Finding(TypedDict):
    """What became of one requirement; `status` is ok, notice, warn or error."""

    id: str
    name: str
    status: str
    reason: str | None


def audit(url: str) -> list[Finding]:
    """Raises PackagesMissingError."""
    program = installed(_SOURCE) / "audit.mjs"
    run = subprocess.run(["node", program, url], capture_output=True, text=True, check=True, timeout=60)
    findings: list[Finding] = json.loads(run.stdout)
    return findings
