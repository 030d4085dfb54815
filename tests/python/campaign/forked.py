"""Work in forked children: cheap enough to kill thousands of them."""

import os
import random
import signal
import sys
import time
import traceback


class ChildError(AssertionError):
    """A child ended otherwise than it should have."""


def start(work):
    """Starts `work()` in a child and returns its process id; an exception is status 1 and a traceback."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def finish(pid, seconds=30.0):
    """Waits until a child ends well; one that takes longer is killed and reported."""
    status = wait(pid, seconds)
    if status is None:
        kill(pid)
        raise ChildError(f"a child had not ended after {seconds:.0f} s")
    if status:
        raise ChildError(f"a child ended with {os.waitstatus_to_exitcode(status)}")


def wait(pid, seconds):
    """The exit status of a child, or None if it is still at work after some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status
        time.sleep(0.0005)
    return None


def kill(pid):
    """SIGKILL, and no zombie."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def killed_after(work, seconds):
    """Runs `work` in a child that is killed after some seconds; whether it was killed before it ended."""
    pid = start(work)
    status = wait(pid, seconds)
    if status is None:
        kill(pid)
        return True
    if status:
        raise ChildError(f"a child ended with {os.waitstatus_to_exitcode(status)}")
    return False


def moments(number):
    """A generator of random numbers for a try; `random` because forked children must not share NumPy's."""
    return random.Random(number)
