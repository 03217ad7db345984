"""Multiply-accumulates by hand, whichever kernel PyTorch runs an operation as."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from splitlab.split.trace.macs import MacCounter

ROWS, HEADS, QUERIES, KEYS, WIDTH, VALUES = 2, 4, 5, 7, 8, 6


def macs(run):
    with torch.no_grad(), MacCounter() as counter:
        run()
    return counter.macs


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_attention(kind, masked):
    query = torch.randn(ROWS, HEADS, QUERIES, WIDTH, dtype=kind)
    key = torch.randn(ROWS, HEADS, KEYS, WIDTH, dtype=kind)
    value = torch.randn(ROWS, HEADS, KEYS, WIDTH, dtype=kind)
    mask = torch.zeros(QUERIES, KEYS, dtype=kind) if masked else None
    counted = macs(lambda: F.scaled_dot_product_attention(query, key, value, mask))
    assert counted == 2 * ROWS * HEADS * QUERIES * KEYS * WIDTH


def test_attention_whose_values_are_narrower():
    query, key = torch.randn(ROWS, HEADS, QUERIES, WIDTH), torch.randn(ROWS, HEADS, KEYS, WIDTH)
    value = torch.randn(ROWS, HEADS, KEYS, VALUES)
    counted = macs(lambda: F.scaled_dot_product_attention(query, key, value))
    assert counted == ROWS * HEADS * QUERIES * KEYS * (WIDTH + VALUES)


def test_grouped_queries_count_each_head():
    query = torch.randn(ROWS, HEADS, QUERIES, WIDTH)
    key = value = torch.randn(ROWS, 2, KEYS, WIDTH)
    counted = macs(lambda: F.scaled_dot_product_attention(query, key, value, enable_gqa=True))
    assert counted == 2 * ROWS * HEADS * QUERIES * KEYS * WIDTH


def test_attention_with_gradients_counts_as_without():
    tokens = torch.randn(ROWS, HEADS, QUERIES, WIDTH, requires_grad=True)
    with MacCounter() as counter:
        F.scaled_dot_product_attention(tokens, tokens, tokens)
    assert counter.macs == 2 * ROWS * HEADS * QUERIES * QUERIES * WIDTH


def test_products_with_vectors():
    matrix, vector = torch.randn(3, 5), torch.randn(5)
    assert macs(lambda: matrix @ vector) == 15
    assert macs(lambda: vector @ vector) == 5
    assert macs(lambda: torch.addmv(torch.zeros(3), matrix, vector)) == 15


def test_bilinear():
    layer = nn.Bilinear(4, 6, 3)
    rows = macs(lambda: layer(torch.randn(ROWS, 4), torch.randn(ROWS, 6)))
    assert rows == ROWS * (3 * 4 * 6 + 3 * 6)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers(kind, gates):
    layer = kind(6, 10, batch_first=True)
    counted = macs(lambda: layer(torch.randn(ROWS, QUERIES, 6)))
    assert counted == ROWS * QUERIES * gates * 10 * (6 + 10)
