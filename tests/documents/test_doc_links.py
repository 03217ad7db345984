"""Links between pages lead somewhere, pages can be reached, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from handbook import ROOT, anchors, links, pages

LINKED = [*pages(), ROOT / "results" / "README.md"]
NOT_YET: set[str] = set()
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


def linked(page: Path) -> set[Path]:
    """Pages that a page leads to; a folder stands for its README."""
    near = {place[0] for link in links(page.read_text()) if (place := led_to(page, link))}
    near = {path / "README.md" if path.is_dir() else path for path in near}
    return {path for path in near if path.suffix == ".md" and path.is_file()}


def test_the_readme_leads_to_each_page_of_docs_and_in_two_steps_to_all() -> None:
    near = linked(ROOT / "README.md")
    far = near.union(*map(linked, near))
    left = {page for page in pages() if page not in far and page != ROOT / "README.md"}
    left |= set((ROOT / "docs").glob("*.md")) - near
    assert not left, f"README does not lead to {sorted(map(str, left))}"


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130
