"""`bench perf train` times two loops that do the same work."""

import json

import pytest
import torch

from bench.perf.training import train as module
from bench.perf.training.train import perf_train


def test_both_loops_train_and_the_verdict_follows_the_ratio(monkeypatch):
    trained = []
    real = module._Rival.epoch

    def epoch(self, net, device):
        before = net.net.fc.weight.clone()
        speed = real(self, net, device)
        trained.append(not torch.equal(before, net.net.fc.weight))
        return speed

    monkeypatch.setattr(module._Rival, "epoch", epoch)
    result = perf_train("cpu", images=64, rounds=2, batch_size=32)
    assert trained == [True] * 3
    assert (result["images"], result["rounds"], result["limit"]) == (64, 2, 1.3)
    assert result["ours"] > 0
    assert result["rival"] > 0
    assert json.loads(json.dumps(result))["ok"] == (result["ratio"] >= 1.3)


def test_the_rival_sees_the_same_images():
    from splitlab.data import load_splits

    data = load_splits("photo-patches", limits={"train": 20}).train
    pictures = module._Pictures(data)
    pictures.transform = module.transforms.ToTensor()
    for row in range(20):
        image, label = pictures[row]
        assert torch.equal(image, data.floats()[row])
        assert label == data.labels[row]


@pytest.mark.slow
def test_ours_is_faster_by_the_limit():
    assert perf_train("cpu")["ok"]
