"""What a runner process makes of signals."""

import gc
import multiprocessing
import signal

from imagejob_runner.local import worker


def test_it_heeds_sigterm_though_the_server_that_it_was_forked_from_does_not() -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.close()  # the supervisor is gone
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        worker.main(theirs)
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == (signal.SIG_DFL, signal.SIG_IGN)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        gc.unfreeze()
        theirs.close()
