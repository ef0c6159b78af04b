"""With GRPC_ENABLE_FORK_SUPPORT=0: a fork before the client is used, and one after."""

import json
import os

import service
from children import exit_code, fork, jobs_until_rotated


def load_and_read(secrets):
    secrets.load()
    jobs_until_rotated(secrets, at_least=1)


def tell_refusal(secrets, writing):
    """Read until the source was asked; the last good value is served all the while."""
    while (status := secrets.status()[0]).error is None:
        service.read(secrets)
    assert status.state == "stale"
    os.write(writing, status.error.encode())


def main():
    secrets = service.new_container()
    codes = [exit_code(fork(lambda: load_and_read(secrets)))]
    secrets.load()
    reading, writing = os.pipe()
    codes.append(exit_code(fork(lambda: tell_refusal(secrets, writing))))
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    jobs_until_rotated(secrets, at_least=1)
    print(json.dumps({"codes": codes, "said": said}))


if __name__ == "__main__":
    main()
