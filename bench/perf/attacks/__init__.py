"""Each attack against the loops of published code, in the same CPU time."""
