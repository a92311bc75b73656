"""The commands that work on a cluster: `kubectl imagejob`, and the same from `imagejob`."""
