"""What wrk prints, and rates."""

import pytest

PRINTED = """Running 1s test @ http://127.0.0.1:8000/values
  1 threads and 8 connections
  4711 requests in 1.00s, 0.7MB read
{}Requests/sec:   4700.25
Transfer/sec:      0.70MB
"""


def test_the_rate_is_read():
    from bench.rows.servers import rate_in

    assert rate_in(PRINTED.format("")) == 4700.25


@pytest.mark.parametrize(
    "printed", [PRINTED.format("  Non-2xx or 3xx responses: 12\n"), "unable to connect"]
)
def test_a_load_that_failed_has_no_rate(printed):
    from bench.rows.servers import rate_in

    with pytest.raises(RuntimeError, match=r"Non-2xx or 3xx responses: 12|unable to connect"):
        rate_in(printed)
