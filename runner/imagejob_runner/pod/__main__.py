"""`python -m imagejob_runner.pod`, for where the command is not on the path."""

from imagejob_runner.pod.main import main

main()
