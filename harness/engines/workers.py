"""Trials in worker processes of this machine."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

from harness.engines import Deaths, RunTrial
from harness.progress import Display
from harness.threads import thread_variables
from harness.trial import Trial


@dataclass(frozen=True)
class Workers:
    """Runs trials in ``count`` processes, each in a pool of its own: one that is killed takes no other with it."""

    count: int

    def run(self, trials: Sequence[Trial], out: Path, run_trial: RunTrial, shown: Display) -> None:
        """Run all trials, see ``harness.engines.Engine``."""
        waiting, running = deque(trials), dict[Future[None], tuple[_Worker, Trial]]()
        with warnings.catch_warnings(), _event_queue(shown) as queue, ExitStack() as stack:
            # loky restarts a worker that has grown (by a feature model, say) and warns as if that were a fault
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
            deaths = Deaths(out, queue.put)
            workers = [_Worker(trials[0].threads) for _ in range(min(self.count, len(trials)))]
            for worker in workers:
                stack.callback(worker.stop)
            while waiting or running:
                while waiting and workers:
                    worker, trial = workers.pop(), waiting.popleft()
                    running[worker.submit(run_trial, trial, out, queue.put)] = worker, trial
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    worker, trial = running.pop(future)
                    workers.append(worker)
                    try:
                        future.result()
                    except BrokenProcessPool:
                        worker.restart()
                        if deaths.try_again(trial, "out of memory?"):
                            waiting.appendleft(trial)


class _Worker:
    """A pool of one process.

    Args:
        threads: of BLAS, OpenMP and the like.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = self._start()

    def _start(self) -> Any:
        from joblib.externals.loky import ProcessPoolExecutor

        environment = thread_variables(self._threads)
        return ProcessPoolExecutor(1, env=environment, initializer=_end_with, initargs=(os.getpid(),))

    def submit(self, run_trial: RunTrial, *arguments: Any) -> Future[None]:
        """Run a trial there."""
        future: Future[None] = self._pool.submit(run_trial, *arguments)
        return future

    def restart(self) -> None:
        """A fresh process instead of one that died."""
        self.stop()
        self._pool = self._start()

    def stop(self) -> None:
        """End the process at once, in the middle of a trial too."""
        self._pool.shutdown(kill_workers=True)


def _end_with(parent: int) -> None:
    """Let this process end when its parent does, even by SIGKILL: the next run may have the folder by then."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _event_queue(shown: Display) -> Iterator[Any]:
    """A queue that worker processes can put events into, shown by a thread of this process."""
    from joblib.externals.loky.backend.context import get_context

    manager = SyncManager(ctx=get_context("loky"))
    manager.start(_end_with, (os.getpid(),))
    with manager:
        queue = manager.Queue()

        def drain() -> None:
            for event in iter(queue.get, None):
                shown.show(event)

        thread = threading.Thread(target=drain, daemon=True)
        thread.start()
        try:
            yield queue
        finally:
            queue.put(None)
            thread.join()
