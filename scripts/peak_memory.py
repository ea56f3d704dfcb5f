"""The peak memory of a process, for scripts that measure."""

import threading

import psutil


class PeakMemory:
    """The process's largest resident memory while the body runs, sampled every 20 ms."""

    def __enter__(self) -> "PeakMemory":
        """Start to look."""
        self.megabytes = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        process = psutil.Process()
        while not self._stop.is_set():
            self.megabytes = max(self.megabytes, process.memory_info().rss / 2**20)
            self._stop.wait(0.02)

    def __exit__(self, *_: object) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()
