"""GraphiQL as `make web` builds it: once, whichever test asks first, and anew when its source has changed."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from tests.servers import ROOT

BUILT = ROOT / "web" / "dist"
_PACKAGES = "web/node_modules/installed"


class PageMissingError(Exception):
    """There is no npm, or it could not fetch the packages."""


def build() -> Path:
    """The folder of the page. A page that cannot be built from its packages is a failure like any other."""
    if shutil.which("npm") is None:
        raise PageMissingError("npm is not installed, so GraphiQL cannot be built")
    with (ROOT / "web" / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may be at it
        fetched = _make(_PACKAGES)
        if fetched.returncode != 0:
            raise PageMissingError(f"npm could not fetch GraphiQL's packages: {_said(fetched)}")
        made = _make("web")
        assert made.returncode == 0, _said(made)
    return BUILT


def _make(target: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", target], cwd=ROOT, capture_output=True, text=True, check=False)


def _said(run: subprocess.CompletedProcess[str]) -> str:
    return (run.stdout + run.stderr).strip()[-1000:]
