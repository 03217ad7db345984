"""Attacks that turn what crossed the wire back into images or text."""
