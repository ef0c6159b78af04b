"""What the children of the forking programs do: read until a rotation has been seen, in bounded time."""

import faulthandler
import itertools
import logging
import os
import signal
import sys
import traceback

import service

from pgp_config import request_scope

#: Seconds after which a child hangs; SIGALRM ends it then, and its exit status says so.
PATIENCE = 60

# Before it ends it shows where each thread of it is.
faulthandler.register(signal.SIGALRM, chain=True)

# gRPC tells its logger alone why it ends a child with the exit status 64.
logging.basicConfig()


def jobs_until_rotated(secrets, at_least):
    """Process so many jobs, and more until one saw a newer version; the labels of each."""
    done = []
    for number in itertools.count(1):
        with request_scope():
            labels = service.read(secrets)["labels"]
            assert service.read(secrets)["labels"] == labels, "one scope saw two versions"
        done.append(labels)
        if number >= at_least and labels[0] > done[0][0] and labels[1] > done[0][1]:
            break
    assert done == sorted(done), "a version went back"
    return done


def fork(work):
    """The pid of a child that does the work and ends at once, whatever thread it was forked from."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(PATIENCE)
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001  told, and the exit status says it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
    os._exit(status)


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
