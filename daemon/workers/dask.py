"""A cluster's workers in place of local processes: Dask's own executor behind ``concurrent.futures``.

The workers run this package, and see the same paths on a shared file system.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from daemon.config.validation import RefusedError
from daemon.workers.pool import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADDRESS: Final = re.compile(r"((tcp|tls|ws|wss)://)?[^/\s]+:\d+")
_ALIVE: Final = frozenset({"running", "connecting"})
_LEAST_WIDTH: Final = 8
"""An adaptive cluster has no workers before there is work that waits for them."""


@contextmanager
def cluster_crew(address: str) -> Iterator[Crew]:
    """Connect to the Dask scheduler at ``address`` (``tcp://host:8786``) and make a crew of its workers.

    :raises RefusedError: Dask is not installed here, or no scheduler answers.
    """
    client = _connect(address)
    try:
        width = max(_LEAST_WIDTH, sum(client.nthreads().values()))
        # pure: two equal calls would be one, and the second look at a source must not be
        crew = Crew(lambda: client.get_executor(pure=False), width, lambda: client.status in _ALIVE)
        try:
            yield crew
        finally:
            crew.close()
    finally:
        client.close()


def _connect(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise RefusedError(
            "--scheduler needs Dask, which is not installed: pip install 'generation-sidecars[dask]'"
        ) from None
    if not _ADDRESS.fullmatch(address):  # Dask would say so too, and then wait for a minute at the end
        raise RefusedError(f"{address}: no address of a scheduler, such as tcp://host:8786")
    try:
        return Client(address, set_as_default=False)
    except (OSError, ValueError) as error:  # a time that ran out is an OSError
        reason = str(error).partition("\n")[0]
        raise RefusedError(
            f"{address}: no Dask scheduler answers there: {reason}. "
            "Start one (dask scheduler), or give the address that it shows, such as tcp://host:8786."
        ) from error
