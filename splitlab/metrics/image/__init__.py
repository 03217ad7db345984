"""Metrics of one reconstruction beside its true image."""
