"""Models: loading them without trusting them, and running them over batches."""
