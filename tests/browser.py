"""A headless Chromium, the system's own, and a page in it that is watched."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from playwright.async_api import Browser, Page, async_playwright

from tests.servers import ROOT

ARTEFACTS = ROOT / "test-artefacts"
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable")
# It should ask nobody but the page's server; and its sandbox refuses root, as which CI runs.
_ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]


class BrowserMissingError(Exception):
    """There is no Chromium."""


@dataclass
class Watched:
    """What a page asked for, and what it complained of: faults of scripts, and refusals of its policy."""

    page: Page
    urls: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.urls.append(request.url))
        self.page.on("websocket", lambda socket: self.urls.append(socket.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type == "error" else None,
        )

    @classmethod
    async def new(cls, browser: Browser) -> Self:
        """A page of a new profile."""
        profile = await browser.new_context(viewport={"width": 1280, "height": 800})
        return cls(await profile.new_page())

    async def another(self) -> Self:
        """A tab beside it, for the same person."""
        return type(self)(await self.page.context.new_page())

    async def keep_picture(self, name: str) -> None:
        """In `test-artefacts/`, for people to look at."""
        await self.page.screenshot(path=ARTEFACTS / f"{name}.png")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    programs = [path for name in _NAMES if (path := shutil.which(name))]
    if not programs:
        raise BrowserMissingError(
            "there is no Chromium, so no page is tried in a browser: install Debian's `chromium`"
        )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=programs[0], args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()
