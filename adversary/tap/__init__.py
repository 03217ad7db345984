"""Relays between client and server that write down what passes."""
