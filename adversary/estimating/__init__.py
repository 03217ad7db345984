"""What an attack will take, reckoned from its own code on a few images."""
