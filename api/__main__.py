"""Owns the process of the side service: `python -m api --config FILE [--fd N]`.

One uvicorn server in one process; SIGTERM lets requests and hand-overs under way finish.  Must not know paths.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn

from api.app import create_app
from api.http11 import HeadDeadline
from filterd import log as logs
from filterd.config import ApiConfig, Config, load_active
from filterd.errors import ConfigError, FilterdError
from filterd.parent import watch_parent
from filterd.storage.database import open_database

log = logging.getLogger(__name__)

BACKLOG = 128
CONNECTIONS = 200  # more are answered with 503
HEAD_BYTES = 32_768  # request line and header fields
GRACE_SECONDS = 5  # for requests under way, on SIGTERM; hand-overs have server.drain_seconds


def bind(config: ApiConfig) -> socket.socket:
    """The listening socket.  Raises FilterdError that names the key."""
    family = socket.AF_INET6 if ":" in config.address else socket.AF_INET
    # IPPROTO_TCP by name: asyncio sets TCP_NODELAY only then, and without it every answer takes 40 ms (Nagle, RFC 896)
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((config.address, config.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        where = f"{config.address}:{config.port}"
        raise FilterdError(f"api: cannot listen on {where}: {error.strerror}; choose another address or port") from None
    return sock


async def serve(config: Config, path: Path | None, sock: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT.  Raises FilterdError when the database cannot be opened."""
    database = open_database(config)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(config, database, config_path=path),
            http=HeadDeadline,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # a client must not choose the address that its wrong tokens are counted under
            server_header=False,
            limit_concurrency=CONNECTIONS,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    address, port = sock.getsockname()[:2]
    log.info("side service listens", extra={"address": address, "port": port})

    def leave() -> None:
        server.should_exit = True

    watching = asyncio.create_task(watch_parent(leave))
    try:
        await server.serve(sockets=[sock])
    finally:
        watching.cancel()
        database.close()


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main(arguments: list[str] | None = None) -> int:
    """Run; exit status 1 with one line that says what to do when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m api", description="The side service: REST API of filterd.")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--fd", type=int, help="listening socket inherited from the parent")
    options = parser.parse_args(arguments)
    # uvicorn raises the signal again once it has shut down in good order: then the status is 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        config = load_active(options.config)
        logs.set_up(config.log.level, config.log.format)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        sock = bind(config.api) if options.fd is None else socket.socket(fileno=options.fd)
        asyncio.run(serve(config, options.config.resolve(), sock))
    except ConfigError as error:
        print("\n".join(f"filterd: {problem}" for problem in error.problems), file=sys.stderr)
        return 1
    except FilterdError as error:
        print(f"filterd: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
