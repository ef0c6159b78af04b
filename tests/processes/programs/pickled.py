"""Hands a container and a secret to children that are not forked, and shows what is said to that."""

import json
import multiprocessing

import service


def refusal(given):
    child = multiprocessing.get_context("spawn").Process(target=print, args=(given,))
    try:
        child.start()
    except TypeError as error:
        return str(error)
    raise AssertionError("it was pickled")


if __name__ == "__main__":
    secrets = service.new_container()
    print(json.dumps([refusal(secrets), refusal(secrets.key)]))
