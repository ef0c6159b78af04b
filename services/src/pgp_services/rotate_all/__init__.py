"""`scripts/rotate-all`: every secret of the fleet is rotated while the seventeen run, and each use of a new version is seen.

exercises (requests that a service answers at any time) → effects (tasks, calls, answers, log lines, alerts: what came of
them) → evidence (which version of a secret each effect shows) → rounds (rotate, and go on until all have shown the new
one) → report.
"""
