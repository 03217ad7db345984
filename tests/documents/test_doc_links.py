"""Links between pages lead somewhere, pages can be reached, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from handbook import ROOT, anchors, links, pages

LINKED = [*pages(), ROOT / "results" / "README.md"]
NOT_YET = {"docs/own_network.md"}
"""Pages that are linked and still to be written; whoever writes one takes its name off."""


def led_to(page: Path, link: str) -> tuple[Path, str] | None:
    """(file, anchor) of a link inside the repository, None for one out of it."""
    if re.match(r"[a-z][a-z+.-]*:|//", link):
        return None
    path, _, anchor = unquote(link).partition("#")
    return ((page.parent / path).resolve() if path else page), anchor


def broken(page: Path, text: str) -> list[str]:
    """Links of a page with this text that lead nowhere."""
    found = []
    for link in links(text):
        if (place := led_to(page, link)) is None:
            continue
        path, anchor = place
        if not path.is_relative_to(ROOT):
            found.append(f"{link}: outside of the repository")
        elif not path.exists():
            if str(path.relative_to(ROOT)) not in NOT_YET:
                found.append(f"{link}: no such file")
        elif anchor and (path.suffix != ".md" or anchor not in anchors(path.read_text())):
            found.append(f"{link}: no such heading")
    return found


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert broken(page, page.read_text()) == []


def test_what_is_there_is_not_still_to_come() -> None:
    assert [name for name in NOT_YET if (ROOT / name).exists()] == []


def test_every_page_is_reached_from_the_readme_by_one_link() -> None:
    home = ROOT / "README.md"
    near = {place[0] for link in links(home.read_text()) if (place := led_to(home, link))}
    near |= {one / "README.md" for one in near if one.is_dir()}
    far = [str(page.relative_to(ROOT)) for page in pages() if page not in {*near, home}]
    assert not far, f"README links no {far}"


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130
