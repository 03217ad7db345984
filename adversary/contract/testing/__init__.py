"""What every attack has to hold to, as functions: the lab's own tests run them, so may others'.

    from adversary.contract.testing import attack_rules

    @pytest.mark.parametrize("rule", attack_rules(Ridge), ids=lambda rule: rule.name)
    def test_contract(rule):
        rule.check()

docs/attacks.md says more.
"""

from adversary.contract.testing.rules import AttackRule, attack_rules
from adversary.contract.testing.small_world import SmallWorld, small_world
from adversary.contract.testing.worlds import Orthogonal, capture, images, threat, tiny_head

__all__ = [
    "AttackRule",
    "Orthogonal",
    "SmallWorld",
    "attack_rules",
    "capture",
    "images",
    "small_world",
    "threat",
    "tiny_head",
]
