"""Memory that was freed is not mapped anew for every step."""

import ctypes
import subprocess
import sys

import pytest

from splitlab.freed_memory import keep_freed_memory

# Blocks of 40 MiB, more than any threshold that the C library chooses by itself.
STEPS = """
import resource
import torch
from splitlab.freed_memory import keep_freed_memory
{keep}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    return (torch.ones(10 << 20) + torch.ones(10 << 20)).sum()
for _ in range(10):
    step()
before = faults()
for _ in range(10):
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
