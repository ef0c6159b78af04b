"""multiprocessing: with fork a child uses the parent's container; else it makes its own."""

import json
import multiprocessing
import sys

import service
from children import jobs_until_rotated

CHILDREN = 2

#: Made by the parent; and, where a child imports this module anew, not there.
secrets = service.new_container() if __name__ == "__main__" else None


def work():
    mine = service.new_container() if secrets is None else secrets
    mine.load()
    jobs_until_rotated(mine, at_least=1)


def main():
    context = multiprocessing.get_context(sys.argv[1])
    secrets.load()
    children = [context.Process(target=work) for _ in range(CHILDREN)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    jobs_until_rotated(secrets, at_least=1)
    print(json.dumps({"codes": [child.exitcode for child in children], "parent": True}))


if __name__ == "__main__":
    main()
