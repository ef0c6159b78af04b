"""What `pgp-config list` and `check` know: declarations, their source's metadata, and what is wrong; without a terminal.

No fact of this package holds a value: one that is read to be validated is dropped at once.
"""
