"""A user's module that fails in a way of its own when it is imported."""

anything = 1 / 0
