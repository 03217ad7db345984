"""What many runs use and one of them made: networks, judges, synthetic images."""
