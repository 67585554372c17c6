"""The README says what is so: settings, commands, and lines that can be copied."""

import re
from pathlib import Path

import pytest

from settings import Settings

pytestmark = pytest.mark.any_postgres

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_every_setting_is_documented_with_its_default_and_meaning() -> None:
    documented = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`|none) \| (.*?) \|$", README, re.MULTILINE)

    assert documented == [
        (name.upper(), "" if field.default is None else str(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "policies" / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_that_is_mentioned_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`make ([a-z-]+)", README)) <= targets
