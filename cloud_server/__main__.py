"""`python -m cloud_server`."""

from cloud_server.cli import app

app()
