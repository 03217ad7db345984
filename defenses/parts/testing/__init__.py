"""What every defence has to hold to, as functions: the lab's own tests run them, so may others'.

    from defenses.parts.testing import defense_rules

    @pytest.mark.parametrize("rule", defense_rules(Mine), ids=lambda rule: rule.name)
    def test_contract(rule):
        rule.check()

docs/defences.md says more.
"""

from defenses.parts.testing.rules import DefenseRule, defense_rules
from defenses.parts.testing.small_order import small_order

__all__ = ["DefenseRule", "defense_rules", "small_order"]
