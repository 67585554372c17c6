"""Small files that only their owner may read: passwords and keys."""

import json
import os
from pathlib import Path
from typing import Any

from local.errors import LocalError


def write_private(path: Path, text: str) -> None:
    """Replaces the file in one step, so that a kill in between leaves the old one whole."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def write_private_json(path: Path, content: Any) -> None:
    write_private(path, json.dumps(content, indent=2) + "\n")


def read_private_json(path: Path) -> dict[str, Any] | None:
    """The file's object; None when there is no such file."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise LocalError(f"{path} is another user's. Run as that user, or choose another DATA_DIR.") from None
    except ValueError:
        raise LocalError(f"{path} is damaged. Restore it, or delete {path.parent} to begin anew.") from None
    if not isinstance(content, dict):
        raise LocalError(f"{path} is damaged. Restore it, or delete {path.parent} to begin anew.")
    return content
