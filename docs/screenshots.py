"""Pictures of the leaderboard page for the docs.

Usage: python docs/screenshots.py results/quick [docs/images]

Needs chromium (apt-get install chromium) and the development dependencies.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from harness.leaderboard.page import write_leaderboard
from harness.leaderboard.reading import read_tables
from harness.store import Store

LAPTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


def main(results: Path, images: Path) -> None:
    """Draw the page of a results folder, and write one picture per part."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("no chromium on this machine: apt-get install chromium")
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        store, page = Store(results), Path(scratch) / "leaderboard.html"
        write_leaderboard(store, read_tables(store), page)
        browser = playwright.chromium.launch(executable_path=chromium)
        for name, viewport in (("light", LAPTOP), ("dark", LAPTOP), ("phone", PHONE)):
            opened = browser.new_page(viewport=viewport, color_scheme="dark" if name == "dark" else "light")
            opened.goto(page.as_uri())
            opened.screenshot(path=images / f"leaderboard-{name}.png")
            if name == "light":
                parts(opened, images)
        browser.close()


def parts(page: Page, images: Path) -> None:
    """Pictures of a task, of a walk in the middle, and of where a number comes from."""
    page.locator("main > section").nth(1).screenshot(path=images / "leaderboard-task.png")
    erasures = page.locator("details[open] .audit tbody tr")
    if texts := erasures.all_inner_texts():
        erasures.nth(texts.index(max(texts, key=len))).locator(".open").click()
        page.locator("#forward").click()
    if page.locator(".browser").count():
        page.locator(".browser").screenshot(path=images / "leaderboard-sample.png")
    page.locator(".results .cell").first.click()
    page.get_by_role("dialog").screenshot(path=images / "leaderboard-provenance.png")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else "docs/images"))
