"""The entry point, and nothing else: each runner process imports this module again, because it was the parent's main program."""


def main() -> None:
    """Runs `imagejob` with the arguments of the process, and ends it."""
    from imagejob_cli.app import app
    from imagejob_cli.ending import leave

    try:
        app.main(prog_name="imagejob")
    except SystemExit as ended:
        leave(ended.code if isinstance(ended.code, int) else 1)
