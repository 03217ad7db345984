"""Every reader on changed and made-up bytes: its own errors, nothing else, and no great memory.

`make fuzz` does this a million times with coverage or structure as its guide; here hypothesis does
it a little.
"""

from __future__ import annotations

import json
import mmap
import random
import re

import memory
import numpy as np
import pytest
import targets
from documents import DOCUMENTS, RAW
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory import run
from seeds import seeds
from targets import TARGETS

from splitlab.errors import SplitLabError

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
        run(TARGETS[name], data, every=1)


@pytest.mark.parametrize("name", TARGETS)
def test_made_up_bytes(name):
    seeds(name)  # what is made once is no input's

    @QUIET
    @given(st.binary(max_size=700))
    def check(data):
        run(TARGETS[name], data, every=4)

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
            run(TARGETS[name], bytes(changed), every=4)


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
            run(TARGETS[name], bytes(changed), every=1)


@pytest.mark.parametrize("data", seeds("flood"))
def test_a_mebibyte_of_nothing_takes_no_more_than_itself(data):
    """Objects of them, of which protobuf's are not even counted here, would be 28 MiB."""
    run(TARGETS["flood"], data, every=1)


def test_a_list_of_wrong_fields_takes_no_more_than_its_words():
    run(TARGETS["capture_index"], RAW + b'{"sessions":[' + 2000 * b"{}," + b"{}]}", every=1)


def test_an_input_that_allocates_more_than_it_may_is_a_failure():
    def some(data):
        np.zeros(data[0] * memory.BESIDE // 4, "u1")

    run(some, bytes([3]), every=1)
    with pytest.raises(MemoryError, match=r"1 bytes took 13\d+ bytes, 1048616 are allowed"):
        run(some, bytes([5]), every=1)


def test_what_the_interpreter_allocates_once_is_no_failure():
    first = []

    def once(_data):
        if not first:
            first.append(np.zeros(2 * memory.BESIDE, "u1"))

    run(once, b"abc", every=1)
    assert first


@pytest.mark.skipif(not memory.FORGETFUL, reason="this system keeps the peak of a process")
def test_what_is_held_for_a_moment_counts_each_time():
    """Memory that Python does not see, and that is no more than an input before it took.

    It is the system's own: an allocator may hand out again what another test gave back.
    """

    def briefly(_data):
        with mmap.mmap(-1, 2 * memory.GROWTH) as pages:
            for start in range(0, len(pages), mmap.PAGESIZE):
                pages[start] = 1

    for _ in range(2):
        with pytest.raises(MemoryError, match="3 bytes took more than 48 MiB"):
            run(briefly, b"abc")


def test_the_handler_s_target_answers():
    """The handler's target reaches the reply, not only refusals."""
    assert targets.HANDLERS[0].infer(seeds("handler")[0]).rows == 2


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_are_valid_and_a_field_changed_is_noticed(name):
    """So that a target is known to reach its reader."""
    for number, document in enumerate(DOCUMENTS[name]()):
        TARGETS[name](bytes([number]))
        with pytest.raises(SplitLabError, match=f"'{document['format']}'"):
            TARGETS[name](RAW + json.dumps({**document, "format": "of another"}).encode())


@pytest.mark.parametrize(
    ("name", "distinct"),
    [
        ("server_manifest", 40),
        ("client_manifest", 40),
        ("capture_index", 20),
        ("record", 100),
        ("weights", 40),
    ],
)
def test_plans_get_past_the_parser(name, distinct):
    """Of 400: valid ones, invalid ones for that many reasons, and none that is not JSON."""
    draw, found, valid = random.Random(name), set(), 0
    for _ in range(400):
        data = bytes(draw.randrange(256) for _ in range(16))
        try:
            TARGETS[name](data if data[:1] != RAW else b"\x07" + data[1:])
        except SplitLabError as error:
            found.add(re.sub(r"\d+", "#", str(error)))
        else:
            valid += 1
    assert not [words for words in found if "not readable as JSON" in words]
    assert len(found) >= distinct
    assert 20 < valid < 380
