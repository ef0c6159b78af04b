"""A master that loads and forks workers, as Celery does; a worker that has done its jobs is replaced."""

import json
import os
import signal
import sys

import service
from children import PATIENCE, jobs_until_rotated

WORKERS, JOBS, CHILDREN = 3, 5, 9


def start_worker(secrets):
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(PATIENCE)
    jobs_until_rotated(secrets, at_least=JOBS)
    sys.exit(0)  # with all exit handlers, unlike os._exit


def main():
    secrets = service.new_container()
    secrets.load()
    codes, started = [], 0
    while len(codes) < CHILDREN:
        while started < min(CHILDREN, len(codes) + WORKERS):
            start_worker(secrets)
            started += 1
        _, status = os.wait()
        codes.append(os.waitstatus_to_exitcode(status))
        service.read(secrets)
    jobs_until_rotated(secrets, at_least=1)
    print(json.dumps({"codes": codes, "parent": True}))


if __name__ == "__main__":
    main()
