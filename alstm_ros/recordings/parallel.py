"""Many recordings at once: over processes of this machine, or over a Dask cluster; joblib does the work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed, parallel_config

from alstm_ros.dependencies import how_to_install
from alstm_ros.errors import ConfigError, DependencyError

CONNECT = "30s"
"""Time for a Dask scheduler to answer; it may have much else to do."""

T = TypeVar("T")
R = TypeVar("R")


def run_all(function: Callable[[T], R], tasks: Sequence[T], jobs: int, dask: str | None) -> Iterator[R]:
    """Calls a function on every task.

    Args:
        function: importable by its name, so that other processes find it.
        tasks: what to call it on; must pickle.
        jobs: how many at once, on this machine.
        dask: a scheduler's address; the cluster then decides how many.

    Yields:
        The results, in the order of the tasks, as they come in.

    Raises:
        ConfigError: jobs is below 1, or no scheduler answers.
        DependencyError: Dask is wanted and not installed.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs is {jobs}; it must be at least 1.")
    if dask is None and (jobs == 1 or len(tasks) < 2):
        yield from map(function, tasks)
        return
    with _backend(jobs, dask):
        yield from Parallel(return_as="generator")(delayed(function)(task) for task in tasks)


@contextlib.contextmanager
def _backend(jobs: int, dask: str | None) -> Iterator[None]:
    if dask is None:
        with parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
            yield
        return
    with _client(dask), parallel_config(backend="dask"):
        yield


def _client(address: str) -> Any:
    try:
        from distributed import Client  # noqa: PLC0415  # wanted only here
    except ImportError as error:
        raise DependencyError(
            f"--dask needs the Python package 'distributed': {how_to_install('distributed')}"
        ) from error
    try:
        return Client(address, timeout=CONNECT)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ConfigError(f"No Dask scheduler answers at {address}: {error}.") from error
