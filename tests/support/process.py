"""Owns a real server that runs as one process of a test: paused, ended, gone.  Not part of the product."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class ServerProcess:
    """Who derives from it starts `process`."""

    process: subprocess.Popen[bytes] | None

    def stop(self) -> None:
        """End it, also when it is paused; nothing when it is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Connections are accepted (by the kernel), and nothing is ever said."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def _gone(self) -> bool:
        return self.process is None or self.process.poll() is not None
