"""Roles that are forked by a process which has loaded torch: like a fresh start, and never left."""

import json
import os
import select
import signal
import subprocess
import sys

import pytest

from bench.roles import launch, nursery
from bench.roles.child import Forked
from bench.roles.launch import start

LIGHT = """
import json, sys
print(json.dumps({"line": sys.stdin.readline()}))
"""
ROLE = """
import json, os, random, signal, sys, threading, torch
there = {}
def ask(): there["threads"] = torch.get_num_threads()
asks = threading.Thread(target=ask); asks.start(); asks.join()
print(json.dumps({
    "words": sys.argv[1:], "name": __name__, "cwd": os.getcwd(), "given": os.environ.get("GIVEN"),
    "threads": torch.get_num_threads(), "elsewhere": there["threads"],
    "interrupts": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "parent": os.getppid(), "line": sys.stdin.readline(), "drawn": random.random(),
    "file": os.path.basename(sys.argv[0]),
}), flush=True)
print("trouble", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "role.py").write_text(ROLE)
    (tmp_path / "light.py").write_text(LIGHT)
    (tmp_path / "sleeper.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(600)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIVEN", "value")
    return tmp_path


def asked(code, log, role="role", **how):
    with (
        log.open("wb") as errors,
        start(
            [role, str(code), "x y"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            **how,
        ) as child,
    ):
        child.stdin.write("a line\n")
        child.stdin.close()
        said = json.loads(child.stdout.read())
        child.wait()
    return child, said


@pytest.mark.parametrize("threads", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_fork_is_like_a_fresh_start(place, threads):
    fork, said = asked(3, place / "log", threads=threads)
    fresh, wanted = asked(3, place / "log2", threads=threads, fresh=True)
    assert isinstance(fork, Forked)
    assert isinstance(fresh, subprocess.Popen)
    assert said["drawn"] != wanted["drawn"]
    same = ("words", "name", "cwd", "given", "threads", "elsewhere", "parent", "line", "file")
    assert {key: said[key] for key in same} == {key: wanted[key] for key in same}
    assert said["words"] == ["3", "x y"]
    assert said["threads"] == said["elsewhere"] == threads
    assert said["interrupts"]
    assert fork.returncode == fresh.returncode == 3
    assert (place / "log").read_text() == (place / "log2").read_text() == "trouble\n"


def test_two_forks_draw_other_numbers(place):
    drawn = [asked(0, place / "log")[1]["drawn"] for _ in range(2)]
    assert drawn[0] != drawn[1]


def sleeping():
    child = start(["sleeper"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout.readline() == "up\n"
    return child


@pytest.mark.usefixtures("place")
def test_its_end_is_told_as_popen_tells_it():
    with sleeping() as child:
        assert child.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0)
        child.terminate()
        assert child.wait(timeout=120) == -signal.SIGTERM
        child.kill()  # of one that has ended: nothing
    with sleeping() as child:
        child.kill()
    assert child.returncode == -signal.SIGKILL


@pytest.mark.usefixtures("place")
def test_a_killed_parent_leaves_nobody():
    script = (
        "import os, signal, subprocess\nfrom bench.roles import nursery\n"
        "nursery.PRELOADED = ('json',)\nfrom bench.roles.launch import start\n"
        "out, err = subprocess.PIPE, subprocess.STDOUT\n"
        "both = [start(['sleeper'], stdout=out, stderr=err, fresh=new) for new in (False, True)]\n"
        "assert [child.stdout.readline() for child in both] == [b'up\\n'] * 2\n"
        "assert isinstance(both[1], subprocess.Popen)\n"
        "print(*[c.pid for c in both], nursery.nursery()._process.pid, flush=True)\n"
        "os.read(0, 1)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        ends = [os.pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(ends) == 3
        parent.communicate(b"x")
    for end in ends:
        waiting = select.poll()
        waiting.register(end, select.POLLIN)
        assert waiting.poll(120_000), "it goes on without its parent"
        os.close(end)


def test_where_there_is_no_nursery_a_role_starts_afresh(place, monkeypatch):
    monkeypatch.setattr(launch, "nursery", lambda: None)
    child, said = asked(0, place / "log", role="light")
    assert isinstance(child, subprocess.Popen)
    assert said["line"] == "a line\n"


def test_so_it_does_where_the_nursery_has_ended(place, monkeypatch):
    monkeypatch.setattr(nursery, "PRELOADED", ("json",))
    monkeypatch.setattr(nursery, "ALSO", ())
    dead = nursery.Nursery()
    dead._process.kill()
    dead._process.wait()
    monkeypatch.setattr(launch, "nursery", lambda: dead)
    child, said = asked(0, place / "log", role="light")
    assert isinstance(child, subprocess.Popen)
    assert said["line"] == "a line\n"
    dead.ours.close()


def test_where_children_cannot_be_waited_for_there_is_no_nursery(monkeypatch):
    def refuse(_pid):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    monkeypatch.setattr(nursery, "_of", {})
    assert nursery.nursery() is None
    assert nursery.nursery() is None
