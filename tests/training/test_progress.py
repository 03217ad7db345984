"""Progress: what is shown, and that it is told of everything."""

import contextlib
import io

import torch
from rich.console import Console
from torch import nn

from splitlab.training import Silent, State, TensorSource, fit, showing


class Recorder:
    def __init__(self):
        self.tasks, self.advanced, self.closed = [], [], 0

    def task(self, name, total, done=0):
        self.tasks.append((name, total, done))
        return self

    def advance(self, count, loss=None):
        self.advanced.append((count, float(loss)))

    def close(self):
        self.closed += 1


def train(progress, tmp_path, epochs=2, stop=None):
    weight = nn.Parameter(torch.ones(()))
    state = State({}, {"w": torch.optim.SGD([weight], 0.0)}, tensors={"w": weight})

    def step(_state, batch):
        if stop is not None and len(progress.advanced) >= stop:
            raise KeyboardInterrupt
        return {"w": weight * len(batch.indices)}

    source = TensorSource((torch.zeros(10, 1),))
    return fit(
        step, state, source, epochs=epochs, batch_size=4, seed=0, device="cpu",
        progress=progress, name="shadow 3", checkpoint=tmp_path / "c.pt",
    )  # fmt: skip


def test_the_loop_tells_everything_and_closes_even_when_stopped(tmp_path):
    recorder = Recorder()
    with contextlib.suppress(KeyboardInterrupt):
        train(recorder, tmp_path, stop=4)
    assert recorder.tasks == [("shadow 3", 20, 0)]
    assert recorder.advanced == [(4, 4.0), (4, 4.0), (2, 2.0), (4, 4.0)]
    assert recorder.closed == 1
    resumed = Recorder()
    train(resumed, tmp_path)
    assert resumed.tasks == [("shadow 3", 20, 10)]
    assert sum(count for count, _ in resumed.advanced) == 10


def test_bars_show_name_loss_speed_and_time(tmp_path):
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    with showing(console) as progress:
        train(progress, tmp_path)
    shown = text.getvalue()
    for word in ("shadow 3", "100 %", "loss 4.000", "images/s", "0:00:00"):
        assert word in shown


def test_silence():
    work = Silent().task("x", 3)
    work.advance(1, 0.5)
    work.close()
