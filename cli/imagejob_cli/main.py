"""The entry point, and nothing else: each runner process imports this module again, because it was the parent's main program."""


def main() -> None:
    """Runs `imagejob`, or `kubectl imagejob`, with the arguments of the process, and ends it."""
    import sys
    from pathlib import Path

    from imagejob_cli.app import app, plugin
    from imagejob_cli.cluster.constants import PLUGIN, PLUGIN_FILE, PROGRAM
    from imagejob_runner.ending import leave

    started_by_kubectl = Path(sys.argv[0]).stem == PLUGIN_FILE
    try:
        (plugin if started_by_kubectl else app).main(prog_name=PLUGIN if started_by_kubectl else PROGRAM)
    except SystemExit as ended:
        leave(ended.code if isinstance(ended.code, int) else 1)
