"""Where the engine computes: one call after the other here, in threads or processes, or on a Dask cluster."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

import cloudpickle

from dask_flow import run_context
from dask_flow.engine.items import Summary, summary
from dask_flow.engine.output import kept_lines, show
from dask_flow.sendable import sendable

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Backend", "DaskBackend", "LocalBackend", "PoolBackend"]

THREADS_SECONDS = 1.0
"""How long a count of the workers' threads holds: an adaptive cluster changes within seconds."""


class Backend(Protocol):
    """Computes calls; each waits for the futures that it is given, and has their error if one of them has one."""

    calls_functions: bool
    """Whether it can call a task's function itself, rather than `run_one`: errors reach dependents all the same."""

    @property
    def threads(self) -> int | None:
        """How many calls run at once, at most, with all the workers that there may be; None: one after the other."""

    def begin(self, run_id: str, values: Mapping[str, Any], stuck: Callable[[str, str], None]) -> None:
        """Have `run_context.runs` hold these values wherever the run's calls are.

        `stuck` is called, from any thread, with the key of a result that cannot be sent to where it is needed, and why.
        """

    def submit(self, key: str, function: Callable[..., Any], needed: Sequence[Any], *args: Any, **options: Any) -> Any:
        """Call `function(values of the needed futures, *args)`, and return its future."""

    def call(self, key: str, function: Callable[..., Any], args: Sequence[Any], **options: Any) -> Any:
        """Call a task's function with these arguments, which may hold futures in collections."""

    def map(
        self, keys: list[str], function: Callable[..., Any], columns: Sequence[Sequence[Any]], **options: Any
    ) -> list[Any]:
        """Call a task's function with each row of these columns."""

    def watch(self, futures: Sequence[Any], done: Callable[[], Any]) -> None:
        """Call `done`, from any thread, when all of these ended."""

    def error(self, future: Any) -> BaseException | None:
        """Return what an ended call raised, with its traceback."""

    def gather(self, futures: Sequence[Any]) -> list[Any]:
        """Return the values of these futures."""

    def summaries(self, futures: Sequence[Any]) -> list[Summary]:
        """Return what became of the items of groups that were computed."""


class _Here:
    """What the backends in this process share."""

    calls_functions = False

    def __init__(self) -> None:
        self._run_ids: list[str] = []

    def begin(self, run_id: str, values: Mapping[str, Any], _: Callable[[str, str], None]) -> None:
        run_context.runs[run_id] = values
        self._run_ids.append(run_id)

    def close(self) -> None:
        """Forget the runs."""
        for run_id in self._run_ids:
            run_context.runs.pop(run_id, None)

    def error(self, future: Future[Any]) -> BaseException | None:
        return future.exception()

    def gather(self, futures: Sequence[Future[Any]]) -> list[Any]:
        return [future.result() for future in futures]

    def summaries(self, futures: Sequence[Future[Any]]) -> list[Summary]:
        return [summary([future.result()]) for future in futures]

    def call(self, key: str, function: Callable[..., Any], args: Sequence[Any], **options: Any) -> Any:
        raise NotImplementedError

    def map(self, keys: list[str], function: Callable[..., Any], columns: Sequence[Any], **options: Any) -> list[Any]:
        raise NotImplementedError

    def watch(self, futures: Sequence[Future[Any]], done: Callable[[], Any]) -> None:
        _when_all(futures, done)


class LocalBackend(_Here):
    """Calls at once, in the thread that asks."""

    threads = None

    def submit(
        self, key: str, function: Callable[..., Any], needed: Sequence[Future[Any]], *args: Any, **_: Any
    ) -> Future[Any]:
        """Call the function."""
        future: Future[Any] = Future()
        _settle(future, function, needed, args)
        return future


class PoolBackend(_Here):
    """Calls in the threads or processes of a pool."""

    def __init__(self, pool: ThreadPoolExecutor | ProcessPoolExecutor, threads: int) -> None:
        super().__init__()
        self.pool: Executor = pool
        self.threads = threads
        self._run: tuple[str, Mapping[str, Any]] = ("", {})
        self._failing = threading.local()

    def begin(self, run_id: str, values: Mapping[str, Any], stuck: Callable[[str, str], None]) -> None:
        """Keep the values to be sent along with each call to another process."""
        super().begin(run_id, values, stuck)
        self._run = (run_id, values)

    def close(self) -> None:
        """Wait for the calls that run; those that did not begin, as when the flow was interrupted, never will."""
        self.pool.shutdown(cancel_futures=True)
        super().close()

    def submit(
        self, key: str, function: Callable[..., Any], needed: Sequence[Future[Any]], *args: Any, **_: Any
    ) -> Future[Any]:
        """Call the function in the pool, once what it needs is there."""
        future: Future[Any] = Future()

        def start() -> None:
            failed = next((each.exception() for each in needed if each.exception()), None)
            if failed is not None:
                self._fail(future, failed)
            else:
                self._start(future, function, needed, args)

        _when_all(needed, start)
        return future

    def _fail(self, future: Future[Any], error: BaseException) -> None:
        """Set the error, and of a chain of calls that it fails one after the other, not one inside the other."""
        failing = self._failing
        if hasattr(failing, "futures"):
            failing.futures.append((future, error))
            return
        failing.futures = [(future, error)]
        for each, why in failing.futures:
            each.set_exception(why)
        del failing.futures

    def _start(
        self, future: Future[Any], function: Callable[..., Any], needed: Sequence[Future[Any]], args: Sequence[Any]
    ) -> None:
        try:
            if isinstance(self.pool, ThreadPoolExecutor):
                self.pool.submit(_settle, future, function, needed, args)
                return
            work = cloudpickle.dumps((self._run, function, [each.result() for each in needed], args))
            self.pool.submit(_in_process, work).add_done_callback(lambda done: _take(future, done))
        except Exception as error:  # it cannot be pickled, or the pool is being closed
            self._fail(future, error)


def _settle(future: Future[Any], function: Callable[..., Any], needed: Sequence[Future[Any]], args: Any) -> None:
    try:
        future.set_result(function([each.result() for each in needed], *args))
    except (KeyboardInterrupt, SystemExit) as error:
        future.set_exception(error)
        raise
    except BaseException as error:
        future.set_exception(error)


def _in_process(work: bytes) -> bytes:
    """Return the pickle of what the call returned, raised and logged, which may be of a class sent by value."""
    (run_id, values), function, needed, args = cloudpickle.loads(work)
    run_context.runs[run_id] = values
    value, error = None, None
    with kept_lines() as lines:
        try:
            value = function(needed, *args)
        except BaseException as raised:
            error = sendable(raised)
    done: bytes = cloudpickle.dumps((value, error, lines))
    return done


def _take(future: Future[Any], done: Future[bytes]) -> None:
    try:
        value, error, lines = cloudpickle.loads(done.result())
        show(lines)
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
    except BaseException as error:
        future.set_exception(error)


def _when_all(futures: Sequence[Future[Any]], done: Callable[[], Any]) -> None:
    """Call `done` when all futures ended, in the thread that ends the last one."""
    if not futures:
        done()
        return
    one = _countdown(len(futures), done)
    for future in futures:
        future.add_done_callback(lambda _: one())


def _countdown(number: int, done: Callable[[], Any]) -> Callable[[], None]:
    """Return a function that calls `done` when it was called so often, from any thread."""
    left = itertools.count(number - 1, -1)

    def one() -> None:
        if next(left) == 0:
            done()

    return one


class DaskBackend:
    """Calls on the workers of a Dask cluster."""

    calls_functions = True

    def __init__(self, client: Client) -> None:
        self.client = client
        self.told: dict[str, Summary] = {}
        """Summaries that came before their groups' ends, by key."""
        self._threads, self._counted = 1, -math.inf

    @property
    def threads(self) -> int:
        """How many threads the workers have, with those on their way and those that an adaptive cluster may yet add.

        Counted anew from time to time.
        """
        if time.monotonic() - self._counted > THREADS_SECONDS:
            with contextlib.suppress(OSError, AttributeError):  # the scheduler is lost, or the client being closed
                self._threads = self._count_threads()
            self._counted = time.monotonic()
        return self._threads

    def _count_threads(self) -> int:
        workers = self.client.nthreads()  # scheduler_info may give what another call of it has got, without workers
        now = sum(workers.values())
        cluster = self.client.cluster
        most = getattr(getattr(cluster, "_adaptive", None), "maximum", 0)  # may be infinite
        planned = max(len(getattr(cluster, "worker_spec", ())), most if most < math.inf else 0)
        options = (getattr(cluster, "new_spec", None) or {}).get("options", {})  # of workers that are to come
        of_each = now / len(workers) if workers else options.get("nthreads", 1)
        return int(max(now, planned * of_each, 1))

    def begin(self, run_id: str, values: Mapping[str, Any], stuck: Callable[[str, str], None]) -> None:
        """Have the workers know the run, also those that come later."""
        raise NotImplementedError

    def submit(self, key: str, function: Callable[..., Any], needed: Sequence[Any], *args: Any, **options: Any) -> Any:
        """Submit the call."""
        return self.client.submit(function, list(needed), *args, key=key, pure=False, **options)

    def call(self, key: str, function: Callable[..., Any], args: Sequence[Any], **options: Any) -> Any:
        """Submit the call."""
        return self.client.submit(function, *args, key=key, pure=False, **options)

    def map(
        self, keys: list[str], function: Callable[..., Any], columns: Sequence[Sequence[Any]], **options: Any
    ) -> list[Any]:
        """Submit the calls, all at once."""
        futures: list[Any] = self.client.map(function, *columns, key=keys, pure=False, **options)
        return futures

    def watch(self, futures: Sequence[Any], done: Callable[[], Any]) -> None:
        """Call `done` from the client's event loop, or at once."""
        one = _countdown(len(futures), done) if len(futures) > 1 else done
        for future in futures:
            _Told.of(future._state, one, self.client)  # noqa: SLF001 - see there

    def error(self, future: Any) -> BaseException | None:
        """Fetch what the call raised. Raises CancelledError if the scheduler is gone, and all that it knew."""
        if future.status == "finished":
            return None
        if future.status == "cancelled":
            future.result()
        error: BaseException
        try:
            error = future.exception() or RuntimeError(f"the task ended as {future.status}")
        except Exception as lost:
            error = lost
        try:
            return error.with_traceback(future.traceback())
        except Exception:
            return error

    def gather(self, futures: Sequence[Any]) -> list[Any]:
        """Fetch the values. Raises CommClosedError if the scheduler is gone."""
        from distributed.comm import CommClosedError

        try:
            values: list[Any] = self.client.gather(list(futures)) if futures else []
        except AttributeError as error:  # what a client raises that is being closed
            raise CommClosedError("the connection to the scheduler was closed") from error
        return values

    def summaries(self, futures: Sequence[Any]) -> list[Summary]:
        """Return what the workers told, and ask for what was lost on the way: the scheduler keeps some events only."""
        lost = [future for future in futures if future.key not in self.told]
        asked = [self.client.submit(summary, [future], key=f"dask-flow-summary-{uuid.uuid4().hex}") for future in lost]
        self.told.update(zip([future.key for future in lost], self.gather(asked), strict=True))
        return [self.told.pop(future.key) for future in futures]


_telling = threading.Lock()


class _Told(asyncio.Event):
    """The event of a future's end, which calls a function too.

    What Dask offers for that costs a task of its event loop for each future, half as much again as the task itself.
    """

    def __init__(self, then: Callable[[], Any]) -> None:
        super().__init__()
        self._then: Callable[[], Any] | None = then

    def set(self) -> None:
        """Tell once, from whichever thread is the first."""
        super().set()
        self.tell()

    def tell(self) -> None:
        with _telling:
            then, self._then = self._then, None
        if then is not None:
            then()

    @classmethod
    def of(cls, state: Any, then: Callable[[], Any], client: Client) -> None:
        """Call the function when the future with this state ends, however."""
        if state._event is not None:  # noqa: SLF001
            client.loop.add_callback(_when_ended, state, then)
            return
        event = state._event = cls(then)  # noqa: SLF001
        if state.status != "pending":  # it ended just now, and may not have seen the event
            event.tell()


async def _when_ended(state: Any, then: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception, concurrent.futures.CancelledError):  # what became of it is asked of the future
        await state.wait()
    then()
