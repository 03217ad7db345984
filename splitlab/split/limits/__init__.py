"""What a tape cannot hold: kinds of modules, courses that follow the batch size, kept state."""
