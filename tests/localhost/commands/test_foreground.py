"""A test's child takes Ctrl-C, also where the test run was started in the background."""

import json
import signal
import subprocess
import sys

from foreground import foreground

TELL = (
    "import json, signal; print(json.dumps([signal.getsignal(signal.SIGINT) is "
    "signal.default_int_handler, len(signal.pthread_sigmask(signal.SIG_BLOCK, ()))]))"
)


def told(words):
    """What a child of a process that ignores and blocks SIGINT says of its own signals."""
    background = (
        "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}); "
        "sys.exit(subprocess.call(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", background, *words], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_child_in_the_foreground_takes_ctrl_c():
    child = [sys.executable, "-c", TELL]
    assert told(child) == [False, 1], "the background passes its signals on"
    assert told(foreground(child)) == [True, 0]


def test_ctrl_c_ends_it():
    words = foreground([sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)"])
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"1\n"
        child.send_signal(signal.SIGINT)
        child.communicate()
    assert child.returncode == -signal.SIGINT
