"""Takes the README's picture of the web page: `python docs/screenshot.py http://127.0.0.1:8080 "message" …`.

Asks each message on a page that is being served (`pajama up`), waits for the answers, and writes docs/images/web.png.
"""

from __future__ import annotations

import shutil
from argparse import ArgumentParser
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PICTURE = Path(__file__).parent / "images" / "web.png"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
ANSWER_MS = 120_000


def main() -> None:
    """Read the arguments and take the picture."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("messages", nargs="+")
    parser.add_argument("--out", type=Path, default=PICTURE)
    parser.add_argument("--size", default="1200x800", help="WIDTHxHEIGHT")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--why", action="store_true", help="open the panel of the last answer")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if given.dark else "light"
        )
        page.goto(given.url)
        page.locator("body[data-ready]").wait_for()
        for message in given.messages:
            ask(page, message)
        if given.why:
            page.locator('.turn:last-child [data-do="why"]').click()
            page.locator("#why[open]").wait_for()
        given.out.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=given.out)
        browser.close()


def ask(page: Page, message: str) -> None:
    """Send `message` and wait until it is answered."""
    asked = page.locator(".turn").count()
    page.locator("#message").fill(message)
    page.keyboard.press("Enter")
    page.locator(f'.turn:nth-child({asked + 1})[data-state="done"]').wait_for(timeout=ANSWER_MS)


if __name__ == "__main__":
    main()
