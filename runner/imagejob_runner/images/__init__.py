"""Pixels: from encoded bytes that a stranger made to the array a model takes, and back to a file."""
