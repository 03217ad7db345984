"""Every reader on changed and made-up bytes: its own errors, nothing else, and no great memory.

`make fuzz` does this a million times with coverage as its guide; here hypothesis does it a little.
"""

from __future__ import annotations

import random
import tracemalloc

import pytest
import targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seeds import seeds
from targets import TARGETS, run

QUIET = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read(name):
    found = seeds(name)
    assert found
    for data in found:
        run(TARGETS[name], data)


@pytest.mark.parametrize("name", TARGETS)
def test_made_up_bytes(name):
    @QUIET
    @given(st.binary(max_size=700))
    def check(data):
        run(TARGETS[name], data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_changed_seeds(name):
    draw = random.Random(name)
    for data in seeds(name):
        for _ in range(40):
            changed = bytearray(data)
            for _ in range(draw.randrange(1, 6)):
                at = draw.randrange(len(changed))
                kind = draw.randrange(3)
                if kind == 0:
                    changed[at] = draw.randrange(256)
                elif kind == 1:
                    del changed[at : at + draw.randrange(1, 20)]
                else:
                    changed[at:at] = changed[draw.randrange(len(changed)) :][:30]
                changed = changed or bytearray(b"x")
            run(TARGETS[name], bytes(changed))


@pytest.mark.parametrize(
    "name", ["request", "reply", "tensors", "valid_tensors", "lane", "timings", "handler"]
)
def test_no_more_memory_than_was_sent(name):
    """Shapes that claim gigabytes are refused before anything is made for them."""
    draw = random.Random(name)
    for data in seeds(name):
        for _ in range(40):
            changed = bytearray(data)
            changed[draw.randrange(len(changed))] = draw.randrange(256)
            tracemalloc.start()
            run(TARGETS[name], bytes(changed))
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 40 * max(len(changed), 9000) + (1 << 20)


@pytest.mark.parametrize("data", seeds("flood"))
def test_a_mebibyte_of_nothing_takes_no_more_than_itself(data):
    """Objects of them, of which protobuf's are not even counted here, would be 28 MiB."""
    run(TARGETS["flood"], b"")
    tracemalloc.start()
    run(TARGETS["flood"], data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * targets.LARGE


def test_an_input_that_takes_too_much_memory_is_a_failure(monkeypatch):
    held = iter([1 << 30, (1 << 30) + targets.GROWTH, 2 << 30, (2 << 30) + targets.GROWTH + 1])
    monkeypatch.setattr(targets, "peak", lambda: next(held))
    run(len, b"abc")
    with pytest.raises(MemoryError, match="3 bytes took more than 48 MiB"):
        run(len, b"abc")


def test_the_handler_s_target_answers():
    """The handler's target reaches the reply, not only refusals."""
    assert targets.HANDLERS[0].infer(seeds("handler")[0]).rows == 2
