"""The honest-but-curious side: what it is granted, and what it makes of a capture."""
