"""The pod (on one machine: the process) that takes images through a pipeline."""
