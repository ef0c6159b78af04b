"""eth-account, imported without its side effect; the only module that imports it.

py_ecc, which it brings along, sets Python's recursion limit to 100,000 for the whole process. With that a request
whose JSON is nested some thousand times is no RecursionError any more but the end of the process.
"""

import sys

_limit = sys.getrecursionlimit()

from eth_account import Account  # noqa: E402  between the two lines that undo it
from eth_account.typed_transactions.typed_transaction import TypedTransaction  # noqa: E402

sys.setrecursionlimit(_limit)

__all__ = ["Account", "TypedTransaction"]
