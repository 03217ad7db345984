"""How the graph of a network is found: followed, written down, merged."""
