"""Owns Rspamd's Bayes as a peer: shipped configuration, every module off, one worker, a Redis of its own, all on loopback.

The probability comes from a rule of three lines that prints the variable `bayes_prob` with all digits; the symbols BAYES_SPAM
and BAYES_HAM round it, and say nothing near the middle.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.accuracy.peer import PeerError, log_odds

# min_learns is 200 as shipped; with 1 or 0 there is an opinion as soon as both classes were learned, 0 changes nothing.
# (lines for the classifier, whether it trains on all, words_decay).  Shipped: min_tokens 11; a message that is already in its class
# with 95 % is not learned unless "Learn-Type: bulk" is said; of a text of more than 600 words some are skipped, by a random seed
# of each start (so figures differ a little from run to run).
VARIANTS = {
    "": ("", True, ""),
    "uncertain-only": ("", False, ""),
    "short-too": ("min_tokens = 1;", True, ""),
    "all-words": ("min_tokens = 1;", True, "words_decay = 1000000;"),
}
_MODULES = Path("/etc/rspamd/modules.d")
_CONFIG = Path("/etc/rspamd/rspamd.conf")
_RULE = """rspamd_config:register_symbol{name = 'PEER_PROBABILITY', type = 'postfilter', callback = function(task)
  local found = task:get_mempool():get_variable('bayes_prob', 'double')
  if found then task:insert_result('PEER_PROBABILITY', 1.0, string.format('%.17g', found)) end
end}
"""
_SETTINGS = json.dumps({"symbols_enabled": ["BAYES_SPAM", "BAYES_HAM", "PEER_PROBABILITY"]})
_START_SECONDS = 60


class Rspamd:
    """A worker, a controller and redis-server on loopback."""

    packages = "rspamd redis-server"

    def __init__(self, variant: str = "") -> None:
        self._lines, self._all, self._words = VARIANTS[variant]
        learning = (
            "trained on all (Learn-Type: bulk)" if self._all else "not trained on what it is 95 % sure of (default)"
        )
        shown = ", ".join(line.rstrip(";") for line in ("min_learns = 1;", self._lines, self._words) if line)
        self.settings = f"{shown}, {learning}; all modules off, no DNS; otherwise defaults"
        self._running: list[subprocess.Popen[bytes]] = []
        self._ports = (0, 0)
        self._refused = 0
        self._silent = 0

    @staticmethod
    def missing() -> str:
        return " ".join(name for name in ("rspamd", "redis-server") if not shutil.which(name))

    def start(self, folder: Path) -> None:
        self._refused = self._silent = 0
        self._ports = (_free_port(), _free_port())
        for name in ("conf/local.d", "conf/override.d", "db", "run", "log"):
            (folder / name).mkdir(parents=True)
        redis = folder / "redis.sock"
        self._write(folder / "conf", redis)
        self._begin(
            folder,
            *("redis-server", "--port", "0", "--unixsocket", str(redis), "--save", "", "--appendonly", "no"),
            *("--dir", str(folder / "db")),
        )
        places = {"LOCAL_CONFDIR": "conf", "DBDIR": "db", "RUNDIR": "run", "LOGDIR": "log"}
        variables = [f"--var={name}={folder / place}" for name, place in places.items()]
        self._begin(folder, "rspamd", "--no-fork", "--insecure", "--config", str(_CONFIG), *variables)
        deadline = time.monotonic() + _START_SECONDS
        while not all(_answers(port) for port in self._ports):
            if time.monotonic() > deadline or any(process.poll() is not None for process in self._running):
                self.stop()
                raise PeerError(f"rspamd: did not start; see {folder}/*.log")
            time.sleep(0.1)

    def _begin(self, folder: Path, *command: str) -> None:
        log = (folder / f"{command[0]}.log").open("wb")
        self._running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _write(self, conf: Path, redis: Path) -> None:
        normal, controller = self._ports
        for module in _MODULES.glob("*.conf"):
            (conf / "override.d" / module.name).write_text("enabled = false;\n")
        files = {
            "override.d/redis.conf": f'servers = "{redis}";\n',
            "override.d/classifier-bayes.conf": f"min_learns = 1;\n{self._lines}\n",
            "override.d/options.inc": f'filters = "";\n{self._words}\n'
            'dns { nameserver = ["127.0.0.1:9"]; timeout = 0.05s; retransmits = 1; }\n',
            "override.d/logging.inc": 'type = "console";\nlevel = "error";\n',
            "override.d/worker-normal.inc": f'bind_socket = "127.0.0.1:{normal}";\ncount = 1;\n',
            "override.d/worker-controller.inc": f'bind_socket = "127.0.0.1:{controller}";\nsecure_ip = ["127.0.0.1"];\n',
            "override.d/worker-proxy.inc": "enabled = false;\n",
            "override.d/worker-fuzzy.inc": "enabled = false;\n",
            "rspamd.local.lua": _RULE,
        }
        for name, text in files.items():
            (conf / name).write_text(text)

    def score(self, octets: bytes) -> float:
        status, body = _post(self._ports[0], "/checkv2", octets, {"Settings": _SETTINGS})
        if status != 200:
            raise PeerError(f"rspamd: {status} {body[:200]!r}")
        score = parse_score(body)
        if score is None:
            self._silent += 1
        return score or 0.0

    def learn(self, octets: bytes, spam: bool) -> None:
        headers = {"Learn-Type": "bulk"} if self._all else {}
        status, _ = _post(self._ports[1], "/learnspam" if spam else "/learnham", octets, headers)
        if status != 200:
            self._refused += 1

    def stop(self) -> str:
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running = []
        return f"{self._refused} messages not learned (it had them before or was sure), no opinion on {self._silent}"


def parse_score(body: bytes) -> float | None:
    """Log-odds of the probability in an answer of /checkv2; None when the classifier had no opinion."""
    try:
        found = json.loads(body)["symbols"].get("PEER_PROBABILITY")
        return log_odds(float(found["options"][0])) if found else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PeerError(f"rspamd: not an answer: {body[:200]!r}") from error


def _post(port: int, path: str, octets: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, octets, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException) as error:
        raise PeerError(f"rspamd {path}: {error}") from error
    finally:
        connection.close()


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
