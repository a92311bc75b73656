"""The engine: images flow through bounded stages, and only limited stages wait for a slot."""
