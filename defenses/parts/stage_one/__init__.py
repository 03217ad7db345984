"""N networks, each with noise of its own: one after another, together, in processes."""
