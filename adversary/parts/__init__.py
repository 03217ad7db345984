"""What attacks share: inverse networks, pairs to learn from, budgets."""
