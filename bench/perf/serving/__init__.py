"""Speed of what crosses the wire and of what answers it."""
