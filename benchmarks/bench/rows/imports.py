"""What `import pgp_config` costs a process that imports dependency_injector anyway: time, memory, modules.

Each sample is a new interpreter, whose files are compiled and in the cache of the system. It measures the
import from within, so that the start of the interpreter does not count, in time of the processor: nothing
is waited for, so that it is the elapsed time of a machine that has nothing else to do (which is shown too).
Memory is the most that was resident (`VmHWM`, because `ru_maxrss` of a child begins with what its parent
had). What is shown beside the mark is the median of the differences of each round.

In three environments: with pgp-config and what it requires; with its extra `google` too; and with all that
the benchmarks install, FastAPI, Flask and Google's libraries among it.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench.environments import populate, put_ours
from bench.harness import Mark, Measured, measure, process, quartiles
from bench.results import Figure, RowResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.harness import Options

NAME = "imports"
TITLE = "Import of pgp_config beside that of dependency_injector"

FLOOR = "dependency_injector alone"
PLAIN = "pgp_config"
FORMS = "from pgp_config import SecretContainer, DynamicSecret, …"
DECLARED = "pgp_config, three secrets declared"
PYDANTIC = "dependency_injector, pydantic.TypeAdapter(SecretStr)"
CLIENT = "pgp_config, Google's client made by its source"
GOOGLE = "dependency_injector, google.cloud.secretmanager"

_FLOOR = "import dependency_injector.containers, dependency_injector.providers"
_PLAIN = "import pgp_config"
_FORMS = (
    "from pgp_config import DynamicSecret, SecretContainer, StaticSecret, request_scope, Freshness"
)
_DECLARED = f"""{_FORMS}
class Secrets(SecretContainer):
    one = DynamicSecret("ONE")
    two = DynamicSecret("TWO")
    three = StaticSecret("THREE")
"""
_PYDANTIC = f"{_FLOOR}\nfrom pydantic import SecretStr, TypeAdapter\nTypeAdapter(SecretStr)"
_CLIENT = f"""{_DECLARED}
from pgp_config import GoogleSecretManager
GoogleSecretManager("local", endpoint="127.0.0.1:1").connect()
"""
_GOOGLE = f"{_FLOOR}\nimport google.cloud.secretmanager"

BARE, WITH_GOOGLE, ALL = (
    "nothing else installed",
    "Google's client installed",
    "all peers installed",
)

#: What an import of pgp_config must leave to its use, unless dependency_injector imports it by itself.
HEAVY = (
    "google.api_core",
    "google.auth",
    "google.cloud",
    "google.protobuf",
    "google_crc32c",
    "grpc",
    "httpx",
    "opentelemetry",
    "pydantic._internal._generate_schema",
    "pydantic.json_schema",
    "pydantic.main",
    "pydantic.type_adapter",
    "pydantic.types",
    "redis",
    "requests",
    "rich",
    "sqlite3",
    "tenacity",
    "typer",
)

MARK = Mark(at_most=0.015, text="≤ +15 ms")
NONE = Mark(at_most=0)

NOTES = (
    (
        "Imported when they are first used: Google's client and grpc (first fetch), pydantic's types and schemas (first"
        " declaration of a secret), SQLite and Redis (uptake), and each source."
    ),
    (
        "The mark is for what an import adds to dependency_injector's. A service declares secrets as it is imported,"
        " and pays for pydantic then: that is shown beside a program that uses pydantic alone."
    ),
)


def run(options: Options) -> RowResult:
    """Measure the row."""
    with tempfile.TemporaryDirectory() as name:
        folders = {place: Path(name, str(n)) for n, place in enumerate((BARE, WITH_GOOGLE, ALL))}
        populate(folders[BARE], ["pgp-config"])
        populate(folders[WITH_GOOGLE], ["pgp-config[google]"])
        put_ours(folders[ALL])
        preludes = {place: _prelude(folder, place) for place, folder in folders.items()}
        return RowResult(
            name=NAME, title=TITLE, figures=tuple(_figures(preludes, options)), notes=NOTES
        )


def own_figures(options: Options) -> list[Figure]:
    """What needs no peer, for the guard: ours beside dependency_injector alone, and what it imports."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        populate(folder, ["pgp-config"])
        prelude = _prelude(folder, BARE)
        cases = [
            process(case, _timing(prelude, program, "process_time"))
            for case, program in ((FLOOR, _FLOOR), (PLAIN, _PLAIN))
        ]
        measured = measure(cases, options)
        return [measured.figure(PLAIN, ratio_to=FLOOR), _heavy(BARE, prelude)]


def _figures(preludes: Mapping[str, str], options: Options) -> Iterator[Figure]:
    for place, prelude in preludes.items():
        programs, beside = {FLOOR: _FLOOR, PLAIN: _PLAIN}, {PLAIN: FLOOR}
        if place == BARE:
            programs |= {FORMS: _FORMS, DECLARED: _DECLARED, PYDANTIC: _PYDANTIC}
            beside |= {FORMS: FLOOR, DECLARED: PYDANTIC}
        if place == WITH_GOOGLE:
            programs |= {CLIENT: _CLIENT, GOOGLE: _GOOGLE}
            beside[CLIENT] = GOOGLE
        named = {f"{name} ({place})": program for name, program in programs.items()}
        pairs = [(f"{case} ({place})", f"{over} ({place})") for case, over in beside.items()]
        measured = _times(prelude, named, options)
        for case, over in pairs:
            mark = MARK if over.startswith(FLOOR) else None
            yield excess(measured, case, over, mark)
        yield excess(measured, _elapsed(pairs[0][0]), _elapsed(pairs[0][1]), None)
        yield from (measured.figure(name) for name in measured.samples)
        peaks = _peaks(prelude, named, options)
        yield from (excess(peaks, _memory(case), _memory(over), None) for case, over in pairs)
        yield from (peaks.figure(name) for name in peaks.samples)
        yield _heavy(place, prelude)


def excess(measured: Measured, case: str, over: str, mark: Mark | None) -> Figure:
    """How much more a case takes than another of the same round."""
    pairs = zip(measured.samples[case], measured.samples[over], strict=True)
    more = [value - least for value, least in pairs]
    middle = statistics.median(more)
    return Figure(
        case=f"+ {case}",
        value=middle,
        unit=measured.units[case],
        spread=quartiles(more),
        ratio_to=over,
        mark=None if mark is None else str(mark),
        verdict="report only" if mark is None else mark.verdict(middle),
        note="the difference",
    )


def _times(prelude: str, programs: Mapping[str, str], options: Options) -> Measured:
    cases = [
        process(name, _timing(prelude, program, "process_time"))
        for name, program in programs.items()
    ]
    elapsed = [
        process(_elapsed(name), _timing(prelude, program, "perf_counter"))
        for name, program in [*programs.items()][:2]
    ]
    return measure([*cases, *elapsed], options, rounds=options.choose(full=21, quick=3))


def _peaks(prelude: str, programs: Mapping[str, str], options: Options) -> Measured:
    cases = [
        process(_memory(name), _peak(prelude, program), unit="bytes")
        for name, program in programs.items()
    ]
    return measure(cases, options, rounds=options.choose(full=5, quick=1))


def _elapsed(name: str) -> str:
    return f"{name}, elapsed"


def _memory(name: str) -> str:
    return f"{name}, memory"


def _heavy(place: str, prelude: str) -> Figure:
    """How many of the heavy modules an import of ours brings that dependency_injector does not."""
    ours, floor = (_modules(f"{prelude}\n{program}") for program in (_PLAIN, _FLOOR))
    brought = sorted({*HEAVY} & (ours - floor))
    return Figure(
        case=f"heavy modules that {PLAIN} imports, {place}",
        value=len(brought),
        unit="modules",
        mark=str(NONE),
        verdict=NONE.verdict(len(brought)),
        note=f"{', '.join(brought) or 'none'} of {', '.join(HEAVY)}",
    )


def _modules(program: str) -> set[str]:
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return {*done.stdout.split()}


def _prelude(folder: Path, place: str) -> str:
    """Source that has a program see the standard library and one folder; or that folder first."""
    kept = "sys.path" if place == ALL else "[p for p in sys.path if p.startswith(sys.base_prefix)]"
    return f"""
import sys
sys.path[:] = [{str(folder)!r}, *{kept}]
import warnings
warnings.simplefilter("ignore")
"""


def _timing(prelude: str, program: str, clock: str) -> str:
    return f"""{prelude}
import time
began = time.{clock}()
{program}
print(time.{clock}() - began)
"""


def _peak(prelude: str, program: str) -> str:
    return f"""{prelude}
{program}
try:
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))
except OSError:
    import resource
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
"""
