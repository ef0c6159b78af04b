"""The fleet on one machine: every service a process of its own, among stand-ins for all that they call.

values (a first value of every secret, and the next ones) → environ (what one service is told) → processes
(started, ready, stopped) → fleet (all of it, as a context manager).
"""
