"""Attacks on the features of a text model."""
