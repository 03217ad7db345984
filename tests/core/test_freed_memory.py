"""Memory that was freed is not mapped anew for every step."""

import ctypes
import subprocess
import sys

import pytest

from splitlab.freed_memory import keep_freed_memory

# Blocks of 40 MiB, more than any threshold that the C library chooses by itself.
STEPS = """
import ctypes, resource
from splitlab.freed_memory import keep_freed_memory
{keep}
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
def step():
    for block in [library.malloc(40 << 20) for _ in range(2)]:
        library.memset(block, 1, 40 << 20)
        library.free(block)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
before = faults()
for _ in range(5):
    step()
print(faults() - before)
"""


def faults(keep):
    words = [sys.executable, "-c", STEPS.format(keep=keep)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no such option"
)
def test_steps_map_their_memory_once():
    assert faults("keep_freed_memory()") < faults("") / 10


def test_a_library_without_the_means_is_left_alone(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    assert keep_freed_memory() is False
