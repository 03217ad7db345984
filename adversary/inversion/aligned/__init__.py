"""`aligned-shadow`: an inversion without queries, aligned by what the images look like."""
