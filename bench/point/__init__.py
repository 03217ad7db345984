"""One measured point: what it takes to make it, and its record."""
