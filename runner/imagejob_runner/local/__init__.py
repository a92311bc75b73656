"""A job on one machine: a supervisor in the place of the operator, and runner processes in the place of pods."""
