"""Which distributions an environment of the benchmarks has."""

REQUIRES = {
    "app": ["base>=1", "extra-part; extra == 'more'", "old; python_version < '3'"],
    "base": ["app", "leaf[fast]"],
    "leaf": ["c-part; extra == 'fast'"],
}


def test_all_that_is_required_here_is_found_and_rings_end():
    from bench.environments import required

    assert required(["app"], REQUIRES.get) == {"app", "base", "leaf", "c-part"}


def test_extras_bring_theirs():
    from bench.environments import required

    assert required(["app[more]"], REQUIRES.get) == {"app", "base", "leaf", "c-part", "extra-part"}
