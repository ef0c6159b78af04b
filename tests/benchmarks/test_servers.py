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


def test_memory_grows_by_what_is_resident_after_the_warm_up():
    from bench.rows.servers import Memory, requests_in

    memory = Memory()
    for resident in (1000, 5000, 5000, 5000, 5400):
        memory.look(requests_in(PRINTED), resident)
    assert memory.growth() == 400 / (3 * 4711)


def test_where_the_system_tells_nothing_no_growth_is_told(tmp_path):
    from bench.rows.servers import Memory, requests_in, resident_of

    memory = Memory()
    memory.look(requests_in("nothing"), resident_of(1, tmp_path))
    assert memory.growth() is None


def test_children_are_resident_too(tmp_path):
    from bench.rows.servers import resident_of

    for process, children in ((1, "2"), (2, "")):
        task = tmp_path / f"{process}/task/{process}"
        task.mkdir(parents=True)
        (task / "children").write_text(children)
        (tmp_path / f"{process}/status").write_text("Name: x\nVmRSS:\t  8 kB\n")
    assert resident_of(1, tmp_path) == 2 * 8 * 1024
