"""A page as Chromium lays it out: what overflows, what is hidden, what cannot be read."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

MEASURE = (Path(__file__).parent / "measure.js").read_text()
BARE = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=10000",
)
"""It asks for nothing beyond the file."""


def browser():
    """Path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def measured(pages, folder):
    """{name: (text of a page, width in pixels)} -> {name: what `measure.js` says of it}.

    Each page stands in a frame of that width, which is its screen; one browser for all.
    """
    frames = "".join(
        f'<iframe id="{html.escape(name)}" srcdoc="{html.escape(text)}" '
        f'style="border:0;width:{width}px;height:900px"></iframe>'
        for name, (text, width) in pages.items()
    )
    host = folder / "host.html"
    host.write_text(
        f"<!doctype html><meta charset=utf-8><body>{frames}"
        f"<script>{MEASURE}</script><pre id=found></pre></body>"
    )
    own = ["--no-sandbox"] if os.geteuid() == 0 else []
    words = [browser(), *BARE, *own, f"--user-data-dir={folder / 'profile'}"]
    words += ["--window-size=1400,1000", "--dump-dom", host.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = re.search(r"<pre id=\"found\">(.*?)</pre>", done.stdout, re.DOTALL)
    text = found[1] if found else ""
    assert text, done.stderr
    return json.loads(html.unescape(text))
