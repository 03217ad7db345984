"""Pages in a browser, 1200, 1024 and 400 pixels wide and on paper: every number is seen."""

import pytest
from chromium import browser, measured
from pages import printed, reproduction, sweep

WIDTHS = {"desk": 1200, "tablet": 1024, "telephone": 400}
PAPER_WIDTH = 1031
"""Pixels of A4 landscape within margins of 12 mm."""
PAGES = {"sweep": sweep, "reproduction": reproduction}
CASES = [f"{page}-{width}" for page in PAGES for width in (*WIDTHS, "paper")]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    if browser() is None:
        pytest.skip("no Chromium here; apt-get install chromium")
    folder = tmp_path_factory.mktemp("pages")
    texts = {name: make(folder / name) for name, make in PAGES.items()}
    asked = {f"{n}-{w}": (text, px) for n, text in texts.items() for w, px in WIDTHS.items()}
    asked |= {f"{n}-paper": (printed(text), PAPER_WIDTH) for n, text in texts.items()}
    return measured(asked, folder)


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_wider_than_the_screen(seen, case):
    assert seen[case]["wide"] <= seen[case]["width"]


@pytest.mark.parametrize("case", CASES)
def test_every_number_of_every_row_is_seen(seen, case):
    assert seen[case]["numbers"] >= 18
    assert seen[case]["hidden"] == []


@pytest.mark.parametrize("page", PAGES)
def test_on_a_telephone_each_number_has_its_heading_beside_it(seen, page):
    assert seen[f"{page}-telephone"]["cards"] > 0
    assert seen[f"{page}-telephone"]["unlabelled"] == []
    assert seen[f"{page}-desk"]["cards"] == 0


@pytest.mark.parametrize("case", CASES)
def test_pictures_have_a_text_and_letters_can_be_read(seen, case):
    assert seen[case]["pictures"] >= 2
    assert (seen[case]["silent"], seen[case]["broken"]) == (0, 0)
    assert seen[case]["pale"] == []
    assert seen[case]["small"] == []
    assert seen[case]["ids"] == []
