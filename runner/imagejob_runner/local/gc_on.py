"""Imported last by the fork server: what it has loaded is shared by the processes forked from it, and garbage is not looked for in it."""

import gc

gc.freeze()
gc.enable()
