"""Forks from threads of a pool while other threads read and refresh; the parent goes on."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import service
from children import exit_code, fork, jobs_until_rotated

from pgp_config import request_scope

FORKS, FORKERS, READERS = 20, 4, 4


def read_on(secrets, ended):
    """Read and refresh without a pause; how often."""
    rounds = 0
    while not ended.is_set():
        with request_scope():
            service.read(secrets)
            secrets.key.refresh()
        rounds += 1
    return rounds


def fork_one(secrets):
    return exit_code(fork(lambda: jobs_until_rotated(secrets, at_least=1)))


def main():
    secrets = service.new_container()
    secrets.load()
    ended = threading.Event()
    with ThreadPoolExecutor(FORKERS + READERS) as pool:
        readers = [pool.submit(read_on, secrets, ended) for _ in range(READERS)]
        try:
            codes = list(pool.map(fork_one, [secrets] * FORKS))
            jobs_until_rotated(secrets, at_least=1)
        finally:
            ended.set()  # else a fault would be a hang
        rounds = [reader.result() for reader in readers]
    print(json.dumps({"codes": codes, "parent": min(rounds) > 0}))


if __name__ == "__main__":
    main()
