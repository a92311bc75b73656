"""Pictures on a GPU: which are decoded there, by what, and how they are scaled to a model's input."""
