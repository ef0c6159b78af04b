"""Benchmarks of pgp_config, against the floor and against what a user would pick instead."""
