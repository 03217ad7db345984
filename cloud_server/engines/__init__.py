"""How the N bodies are run: the contract, one file for each way, and the choice between them."""
