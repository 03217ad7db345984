"""Plain lines where no terminal is: what, done of how many, seconds left."""

import io

from rich.console import Console

from splitlab.training import showing
from splitlab.training.plain_progress import PlainProgress


def told(seconds, counts, total=100, done=0):
    """Lines of one work that advances by `counts`, `seconds` apart."""
    lines, now = [], [0.0]
    work = PlainProgress(lines.append, lambda: now[0]).task("victim", total, done)
    for count in counts:
        now[0] += seconds
        work.advance(count, loss=0.5)
    work.close()
    work.close()
    return lines


def test_a_line_every_ten_seconds_with_what_is_left():
    assert told(5.0, [10] * 10) == [
        "victim: begins, 0 of 100 done",
        "victim: 20 of 100, loss 0.500, about 40 s left",
        "victim: 40 of 100, loss 0.500, about 30 s left",
        "victim: 60 of 100, loss 0.500, about 20 s left",
        "victim: 80 of 100, loss 0.500, about 10 s left",
        "victim: 100 of 100, loss 0.500, about 0 s left",
        "victim: done, 100 in all, 50 s",
    ]


def test_quick_work_says_nothing_more_and_a_continued_one_counts_its_own_time():
    assert told(0.1, [50, 50]) == ["victim: begins, 0 of 100 done"]
    assert told(0.1, [], done=100) == []
    assert told(10.0, [10], done=50)[1] == "victim: 60 of 100, loss 0.500, about 40 s left"
    assert told(10.0, [10], done=50)[-1] == "victim: ended at 60, 100 in all, 10 s"


def test_only_the_first_work_announces_itself():
    lines = []
    progress = PlainProgress(lines.append, lambda: 0.0)
    for name in ("judge", "decoder"):
        progress.task(name, 5).close()
    assert lines == ["judge: begins, 0 of 5 done"]


def test_a_pipe_gets_lines_and_a_terminal_bars():
    pipe, terminal = io.StringIO(), io.StringIO()
    with showing(Console(file=pipe)) as progress:
        progress.task("[victim]", 5).advance(1)
        assert pipe.getvalue() == "[victim]: begins, 0 of 5 done\n"
    with showing(Console(file=terminal, force_terminal=True)) as progress:
        progress.task("victim", 5).advance(1)
    assert "20 %" in terminal.getvalue()
