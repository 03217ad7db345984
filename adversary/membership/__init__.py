"""Attacks that say which records a network has learned from."""
