"""`shadow`: a head and tail trained around the known bodies, then inverted."""
