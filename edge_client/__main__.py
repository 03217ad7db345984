"""`python -m edge_client`."""

from edge_client.cli import app

app()
