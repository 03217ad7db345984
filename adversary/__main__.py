"""`python -m adversary`."""

from adversary.cli import app

app()
