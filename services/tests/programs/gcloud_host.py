"""Google's gcloud, unchanged and warm: a forked child runs each command line; run by gcloud's own Python.

A start of gcloud takes a second or two, of which a fork saves nearly all.
"""

import json
import os
import sys

root = sys.argv[1]
sys.path.insert(0, os.path.join(root, "lib"))  # noqa: PTH118  another program's Python

import gcloud as program  # noqa: E402  found by the line above

sys.path = program.reorder_sys_path(sys.path)
program._fix_google_module()
main = program._import_gcloud_main()
cli = main.CreateCLI([])


def answer(order):
    """In the child: run, or with `parse` only understand, a command line."""
    files = ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_WRONLY), (2, "stderr", os.O_WRONLY))
    for descriptor, name, flags in files:
        os.dup2(os.open(order[name], flags), descriptor)
    sys.argv = ["gcloud", *order["words"]]
    try:
        if order["parse"]:
            cli._CLI__parser.parse_args(order["words"])
        else:
            main.main(cli)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as fault:  # noqa: BLE001  the parent goes on
        sys.stderr.write(repr(fault))
        return 99
    return 0


print("ready", flush=True)  # noqa: T201  the parent waits for it
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        code = answer(order)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  the parent reads it
