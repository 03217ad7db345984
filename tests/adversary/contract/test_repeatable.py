"""A killed decoder continues to the same answer. (Same seed, same answer: `test_rules.py`.)"""

import pytest
import torch
from worlds import Orthogonal, capture, outcome, threat, tiny_head

from adversary.contract.attack import run_attack
from adversary.inversion.decoder import Decoder
from splitlab.contracts import Features
from splitlab.randomness import generator


def test_a_killed_decoder_continues_to_the_same_answer(tmp_path):
    head = tiny_head("block2")
    model = threat(head, "gaussian:level=0.3", known="adaptive")
    seen = Features(tuple("abcdefgh"), capture(head, "gaussian:level=0.3"))
    attack = Decoder(epochs=2, width=8)
    whole = run_attack(attack, model, seen, generator(3)).estimate.values

    class Killed(Exception):
        pass

    class Bars:
        """A progress bar that ends the process, so to speak, early in the second epoch."""

        def task(self, name, total, done=0):  # noqa: ARG002
            self.left = 260
            return self

        def advance(self, count, loss=None):  # noqa: ARG002
            self.left -= count
            if self.left < 0:
                raise Killed

        def close(self):
            pass

    file = tmp_path / "decoder.pt"
    with pytest.raises(Killed):
        run_attack(attack, model, seen, generator(3), progress=Bars(), checkpoint=file)
    assert file.exists()
    continued = run_attack(attack, model, seen, generator(3), checkpoint=file).estimate.values
    assert torch.equal(whole, continued)


def test_features_that_do_not_fit_into_memory_are_made_again(monkeypatch):
    from adversary.parts import pairs

    head = Orthogonal("map")
    model = threat(head, known="unaware")
    kept = outcome(Decoder(epochs=1, width=8), model, capture(head))
    monkeypatch.setattr(pairs, "KEPT_BYTES", 240 * 48 * 16 * 4 - 1)
    made = outcome(Decoder(epochs=1, width=8), model, capture(head))
    assert made.effort["head_images"] > kept.effort["head_images"] + 200
    # Features made in other batches differ in their last bits, and training spreads that.
    apart = (made.estimate.values - kept.estimate.values).abs()
    assert apart.mean() < 0.02
    assert apart.max() < 0.15
