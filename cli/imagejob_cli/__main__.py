"""`python -m imagejob_cli` is `imagejob`, also where the script is not on the PATH."""

from imagejob_cli.main import main

if __name__ == "__main__":
    main()
