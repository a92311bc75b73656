"""The store of one machine: a small server keeps the state in a directory, and processes connect to it over a Unix socket."""
