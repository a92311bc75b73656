"""Imported last by the fork server: what it has loaded is shared with the processes forked from it, and no collection needs to look at it."""

import gc

gc.freeze()
gc.enable()
