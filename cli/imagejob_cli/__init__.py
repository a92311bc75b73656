"""The command line: `imagejob`."""
