"""Sentence pairs, and words as numbers."""
