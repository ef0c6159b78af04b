"""Promise 16 in programs that fork by themselves, or start children in another way."""

import pytest

FORK_SUPPORT = [{}, {"GRPC_ENABLE_FORK_SUPPORT": "1"}]


def name_of(support):
    return f"fork-support-{support.get('GRPC_ENABLE_FORK_SUPPORT', 'unset')}"


@pytest.mark.parametrize("release", [None, "oldest"])
@pytest.mark.parametrize("support", FORK_SUPPORT, ids=name_of)
def test_forks_from_threads_while_others_read(run_program, grpcio_of, support, release):
    told = run_program("fork_in_threads.py", grpcio=grpcio_of(release), **support)
    assert told == {"codes": [0] * 20, "parent": True}


@pytest.mark.parametrize("release", [None, "oldest"])
@pytest.mark.parametrize("support", FORK_SUPPORT, ids=name_of)
def test_a_master_that_replaces_its_workers(run_program, grpcio_of, support, release):
    told = run_program("prefork.py", grpcio=grpcio_of(release), **support)
    assert told == {"codes": [0] * 9, "parent": True}


@pytest.mark.parametrize("release", [None, "oldest"])
def test_without_fork_support_a_used_client_is_refused_in_the_child(
    run_program, grpcio_of, release
):
    told = run_program(
        "no_fork_support.py", grpcio=grpcio_of(release), GRPC_ENABLE_FORK_SUPPORT="0"
    )
    assert told["codes"] == [0, 0]
    assert told["said"] == (
        "GRPC_ENABLE_FORK_SUPPORT is off, and this process was forked after Secret Manager was used: "
        "gRPC hangs here"
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(run_program, method):
    assert run_program("start_methods.py", method) == {"codes": [0, 0], "parent": True}


def test_a_container_is_not_handed_to_a_child_that_is_not_forked(run_program):
    container, secret = run_program("pickled.py")
    assert container.startswith(
        "<Service: PROCESS_KEY, PROCESS_OTHER, PROCESS_SIGNING_KEY> is not"
    )
    assert "Make a container in each process" in container
    assert secret == (
        "<DynamicSecret PROCESS_KEY> is not pickled: it gives a secret value. "
        "Pass its name instead."
    )
