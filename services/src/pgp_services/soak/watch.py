"""Memory and threads of the pilots' workers, sampled while they run."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Seconds between two samples.
INTERVAL = 1.0

#: By how much the memory of a worker may grow from the second quarter of a run to its last: what an
#: allocator keeps after a burst is no leak.
MEMORY_MARGIN, LEAST_MEMORY_MARGIN = 0.05, 4 * 2**20

#: The same for the median number of threads: fetches that overlap.
THREAD_MARGIN = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment.

    Attributes:
        process: Its process id.
        memory: Its resident set, in bytes.
        threads: How many threads it has.
    """

    process: int
    memory: int
    threads: int


@dataclass(frozen=True, slots=True)
class Trend:
    """One process over the run, by the medians of its second quarter and of its last.

    Attributes:
        process: Its process id.
        memory: Bytes, before and after.
        threads: Before and after.
    """

    process: int
    memory: tuple[float, float]
    threads: tuple[float, float]

    @property
    def is_flat(self) -> bool:
        """Whether neither grew by more than its margin."""
        before, after = self.memory
        margin = max(MEMORY_MARGIN * before, LEAST_MEMORY_MARGIN)
        return after - before <= margin and self.threads[1] - self.threads[0] <= THREAD_MARGIN


def trends(samples: Iterable[Sample]) -> list[Trend]:
    """Each process's trend; those with fewer than four samples have none."""
    by_process: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_process[sample.process].append(sample)
    return [_trend(mine) for mine in by_process.values() if len(mine) >= 4]  # noqa: PLR2004  quarters


def _trend(samples: Sequence[Sample]) -> Trend:
    quarter = len(samples) // 4
    before, after = samples[quarter : 2 * quarter], samples[-quarter:]
    return Trend(
        samples[0].process,
        (median(s.memory for s in before), median(s.memory for s in after)),
        (median(s.threads for s in before), median(s.threads for s in after)),
    )


def workers_of(master: int) -> list[int]:
    """The process ids of a server's workers."""
    return [child.pid for child in psutil.Process(master).children()]


class Watch:
    """Samples processes while its `with` block runs.

    Args:
        processes: Their ids.

    Attributes:
        samples: What was seen so far; a process that ended is seen no more.
    """

    def __init__(self, processes: Iterable[int]) -> None:
        self.samples: list[Sample] = []
        self._processes = [psutil.Process(number) for number in processes]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-watch")

    def look(self) -> None:
        """Take one sample of each."""
        for process in self._processes:
            try:
                memory, threads = process.memory_info().rss, process.num_threads()
            except psutil.NoSuchProcess:
                continue
            self.samples.append(Sample(process.pid, memory, threads))

    def _run(self) -> None:
        while not self._over.wait(INTERVAL):
            self.look()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
