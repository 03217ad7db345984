"""Jobs side by side: every result arrives, errors and dead processes are told, nothing is left."""

import multiprocessing
import os
from functools import partial

import pytest

from splitlab.errors import BadInput, SplitLabError
from splitlab.workers import side_by_side


@pytest.fixture
def _loaded_once(monkeypatch):
    """Workers are forks of a process that has loaded torch, not each a fresh start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["splitlab.workers"])
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: context)


def square(power, number, progress):
    work = progress.task(f"job {number}", total=2)
    work.advance(2, 0.5)
    work.close()
    yield number, number**power
    yield number, os.getpid()


def stumble(how, number, _progress):
    if number == 1:
        if how == "bad":
            raise BadInput("one is not wanted; give two")
        if how == "odd":
            raise ZeroDivisionError("by zero")
        os._exit(7)
    yield number


class Shown:
    def __init__(self):
        self.told = []

    def task(self, name, total, done=0):
        self.told.append((name, total, done))
        return self

    def advance(self, count, loss=None):
        self.told.append((count, loss))

    def close(self):
        pass


def test_every_job_is_done_by_processes_that_are_gone_afterwards():
    shown = Shown()
    found = list(side_by_side(partial(square, 2), [3, 4, 5], count=2, progress=shown))
    assert sorted(pair for pair in found if pair[1] in (9, 16, 25)) == [(3, 9), (4, 16), (5, 25)]
    workers = {pair[1] for pair in found} - {9, 16, 25}
    assert len(found) == 6
    assert os.getpid() not in workers
    assert 1 <= len(workers) <= 2
    assert sorted(entry for entry in shown.told if len(entry) == 3) == [
        (f"job {n}", 2, 0) for n in (3, 4, 5)
    ]
    assert [entry for entry in shown.told if len(entry) == 2] == [(2, 0.5)] * 3
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("_loaded_once")
@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("bad", BadInput, "^one is not wanted; give two$"),
        ("odd", SplitLabError, "^ZeroDivisionError: by zero$"),
        ("dead", SplitLabError, "ended with 7; start again"),
    ],
)
def test_a_failure_is_told_in_its_own_words_and_ends_the_others(how, kind, words):
    with pytest.raises(kind, match=words):
        list(side_by_side(partial(stumble, how), [0, 1, 2], count=2))
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("_loaded_once")
def test_leaving_early_ends_the_processes():
    for _ in side_by_side(partial(square, 2), [3, 4, 5], count=1):
        break
    assert not multiprocessing.active_children()
