import subprocess
import sys

PROGRAM = """
import atexit, sys, threading
from imagejob_runner.ending import leave
atexit.register(print, "exit function")
print("output")
print("message", file=sys.stderr)
threading.Thread(target=threading.Event().wait).start()
leave(5)
"""


def test_exit_functions_run_and_nothing_printed_is_lost_and_no_thread_holds_the_end_up() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, "output\nexit function\n", "message\n")
