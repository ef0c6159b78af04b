"""The address of the local Secret Manager, from what the command prints."""

import pytest

from pgp_config import GoogleSecretManager


def test_it_runs_until_the_end_of_the_block_and_has_the_secret():
    from bench.peers.local_manager import running

    with running() as server:
        source = GoogleSecretManager("local", endpoint=server.grpc)
        assert source.fetch("DYNAMIC_VALUE").version == 1
        source.close()


def test_a_command_that_did_not_start_is_told_with_what_it_printed():
    from bench.peers.local_manager import addresses_in

    with pytest.raises(RuntimeError, match="printed 'The port is taken"):
        addresses_in("The port is taken.\n")
