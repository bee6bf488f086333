"""The installed Chromium, for tests of what a reader of the HTML page sees."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def open_chromium(profile: Path) -> Chrome:
    """A headless browser of its own, that logs its console and what it fetches.

    Skips the test where selenium or the browser is missing; in CI with a warning besides, which
    stands in the summary.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    try:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        _skip("selenium is not installed: pip install archcheck-torch[dev]")
    if browser is None or driver is None:
        _skip("chromium or chromedriver is not installed: apt-get install chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    for switch in (*_SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return Chrome(options=options, service=Service(driver))


def resize(
    browser: Chrome, width: int, height: int, *, scale: float = 1, dark: bool = False
) -> None:
    """Give the page a screen of this size, in CSS pixels."""
    screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def _skip(reason: str) -> None:
    if os.environ.get("CI"):
        warnings.warn(f"the page is not tested in a browser: {reason}", stacklevel=3)
    pytest.skip(reason)
