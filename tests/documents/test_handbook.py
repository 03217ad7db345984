"""How pages are read, tried on pages made up here."""

from __future__ import annotations

import pytest
from handbook import ROOT, alone, anchors, blocks, commands, links, mentioned, prose, table_under
from test_doc_links import broken
from test_doc_names import gone

PAGE = """# Title

Text with `bench perf
serve` and `bench` and `make sweep`, [a](b.md#c) and `[no](link.md)`.

```
# a comment
bench train --split layer2.0 \\
  --out deployment  # another
$ (umask 077; openssl rand -hex 32 > token)
THREADS=1 make sweep RUN=runs/x && adversary attack \\
    capture | cat
```

~~~sh
bench splits 'a b'
~~~

    edge-client half infer photo.jpg

```python
bench = 1
```

```
drawing   bench/ train
bench/    is no command
```

## A `code` heading, twice!

## A `code` heading, twice!
"""


def test_commands_of_all_kinds_of_blocks() -> None:
    assert commands(PAGE) == [
        ["bench", "train", "--split", "layer2.0", "--out", "deployment"],
        ["umask", "077"],
        ["openssl", "rand", "-hex", "32"],
        ["make", "sweep", "RUN=runs/x"],
        ["adversary", "attack", "capture"],
        ["cat"],
        ["bench", "splits", "a b"],
        ["edge-client", "half", "infer", "photo.jpg"],
    ]


def test_a_list_is_no_block_and_a_fence_ends_where_it_began() -> None:
    assert blocks("- one\n    two\n") == []
    [block] = blocks("````md\n```\nbench\n```\n````\nafter")
    assert (block.language, block.lines) == ("md", ("```", "bench", "```"))


def test_sentences_headings_and_links() -> None:
    assert alone("`--flag=1 more`, `x --other`, `--last`") == ["--flag=1", "--last"]
    assert mentioned(PAGE) == [["bench", "perf", "serve"], ["make", "sweep"]]
    assert anchors(PAGE) == {"title", "a-code-heading-twice", "a-code-heading-twice-1"}
    assert links(PAGE) == ["b.md#c"]
    assert "drawing" not in prose(PAGE)


def test_a_table_is_that_behind_its_heading() -> None:
    page = "\n## One\n\n| a | b |\n|---|---|\n| 1 | `x` |\n\n## Two\n"
    assert table_under(page, "## One") == [["1", "`x`"]]
    with pytest.raises(ValueError, match="no table"):
        table_under(page, "## Two")
    with pytest.raises(ValueError, match="no heading"):
        table_under(page, "## Three")


def test_links_and_paths_that_lead_nowhere_are_seen() -> None:
    page = ROOT / "docs" / "made-up.md"
    text = "[a](data.md#layouts) [b](data.md#nothing) [c](nothing.md) [d](https://example.org/x)"
    assert broken(page, text) == ["data.md#nothing: no such heading", "nothing.md: no such file"]
    paths = "`defenses/gaussian.py` `defenses/gauss.py` `defenses/NAME.py` `nowhere/x` `a/b`"
    assert gone(paths + " `adversary/new/NAME.py` (new) `adversary/old/NAME.py`") == [
        "defenses/gauss.py",
        "adversary/old/NAME.py",
    ]
