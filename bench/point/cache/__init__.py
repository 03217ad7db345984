"""What many runs use and one of them made: networks of all kinds, judges, synthetic images."""
