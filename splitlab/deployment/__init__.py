"""A trained network as two halves on disk: `client/` goes to one machine, `server/` to another."""

from splitlab.deployment.client_half import ClientHalf
from splitlab.deployment.halves import Halves
from splitlab.deployment.manifest import ClientManifest, ServerManifest, Shard
from splitlab.deployment.selector import Selector
from splitlab.deployment.server_half import ServerHalf
from splitlab.deployment.shards import split_server
from splitlab.deployment.write import write_deployment

__all__ = [
    "ClientHalf",
    "ClientManifest",
    "Halves",
    "Selector",
    "ServerHalf",
    "ServerManifest",
    "Shard",
    "split_server",
    "write_deployment",
]
