"""A headless Chromium for tests that look at pages as a person does; Debian's packages bring it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

needs_browser = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs Chromium and its driver (Debian: apt-get install chromium chromium-driver)",
)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


@contextmanager
def opened(page: Path | str, folder: Path, width: int = 1280, height: int = 800) -> Iterator[Any]:
    """Open a page (a file or an address) in a window of this size; `folder` keeps the browser's own files."""
    options = Options()
    for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={folder}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=shutil.which("chromedriver")))
    try:
        # The window of a headless Chromium is never narrower than 500 pixels: the viewport is set by itself.
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(page if isinstance(page, str) else page.resolve().as_uri())
        yield driver
    finally:
        driver.quit()


def console_errors(driver: Any) -> list[str]:
    """Return what the page wrote to the console as warnings and errors."""
    bad = {"SEVERE", "WARNING"}
    return [entry["message"] for entry in driver.get_log("browser") if entry["level"] in bad]
