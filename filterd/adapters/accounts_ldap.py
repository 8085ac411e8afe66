"""Owns accounts of a directory: who can bind there, over TLS only, has given the right password.  RFC 4511, 4513, 4514, 4516.

With ldap_link.py the only file that imports ldap3.  Must not know who asks, nor how often somebody may fail.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl

import ldap3
from ldap3.core.exceptions import LDAPException

from filterd.adapters.ldap_link import trust
from filterd.adapters.threads import Threads
from filterd.config import AuthConfig
from filterd.deadline import Deadline
from filterd.errors import ConfigError, TemporaryError

_THREADS = 8  # they wait for the network, not for the processor
_WAITING = 32  # a directory that answers in 20 ms has done with them in a tenth of a second
_SUCCESS, _INVALID_CREDENTIALS = 0, 49  # RFC 4511 appendix A
_SPECIAL = frozenset('"+,;<>\\=# ')  # RFC 4514 section 2.4, with those that are special in some places only


def bind_name(template: str, user: str) -> str:
    """The name to bind as; in a template that is a DN the user can only ever be one attribute's value."""
    if "=" in template:
        user = "".join(f"\\{ord(c):02x}" if c in _SPECIAL else c for c in user)
    return template.replace("{user}", user)


class LdapAccounts:
    """Implements ports.Authenticator.  Each check is a connection of its own: a bind changes whose connection it is."""

    def __init__(self, config: AuthConfig) -> None:
        """Raises ConfigError; the directory is not asked yet."""
        if "{user}" not in config.ldap_user:
            raise ConfigError([f"auth.ldap_user: expected {{user}} somewhere in it, found {config.ldap_user!r}"])
        self._config = config
        self._tls = _Tls(trust(config.ldap_ca_file, "auth.ldap_ca_file", verify=config.ldap_verify))
        self._threads = Threads("directory", _THREADS, _WAITING)
        try:
            self._server()
        except LDAPException as error:
            text = f"auth.ldap_url: expected such as ldaps://dc1.example.org, found {config.ldap_url!r}: {error}"
            raise ConfigError([text]) from None

    async def check(self, user: str, password: str, deadline: Deadline) -> bool:
        """Whether they belong together.

        Raises TemporaryError: busy, timeout, unreachable (no connection, or its certificate is not trusted), refused (the
        directory's answer is neither yes nor no).
        """
        # An empty password would be an unauthenticated bind, which succeeds for every name (RFC 4513 section 5.1.2).
        # Blanks around a user are nothing to the directory, and would make one account many.
        if not user or not password or user != user.strip() or not user.isprintable():
            return False
        attempt = _Attempt(self._server(), bind_name(self._config.ldap_user, user), password, self._patience)
        try:
            return await self._threads.run(attempt.bind, deadline.within(self._config.timeout_seconds))
        finally:
            attempt.abandon()

    @property
    def _patience(self) -> int:
        return math.ceil(self._config.timeout_seconds)  # ldap3 wants whole seconds

    def _server(self) -> ldap3.Server:
        """A new one for each connection: ldap3 keeps in it which addresses have failed."""
        url = self._config.ldap_url
        return ldap3.Server(url, get_info=ldap3.NONE, connect_timeout=self._patience, tls=self._tls)


class _Tls(ldap3.Tls):  # type: ignore[misc]  # ldap3 has no types
    """ldap3 makes a context for every connection and compares names by itself; here OpenSSL does, with one context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=context.verify_mode)
        self._context = context

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = True) -> None:
        """Called by ldap3 at the start of LDAPS, and when StartTLS was granted."""
        host = connection.server.host
        # set before the handshake, so that this can be abandoned too
        connection.socket = self._context.wrap_socket(
            connection.socket, server_hostname=host, do_handshake_on_connect=False
        )
        connection.socket.do_handshake()


class _Attempt:
    """One bind, made in a thread; it can be ended from another one."""

    def __init__(self, server: ldap3.Server, name: str, password: str, patience: int) -> None:
        # Octets: ldap3 would prepare text by RFC 4013, which can change a password, or leave nothing of it.
        self._connection = ldap3.Connection(
            server,
            user=name,
            password=password.encode(),
            authentication=ldap3.SIMPLE,
            auto_referrals=False,  # the password is for this directory only
            receive_timeout=patience,
        )

    def bind(self) -> bool:
        """Connect, TLS, bind.  Blocks; raises TemporaryError."""
        connection = self._connection
        try:
            connection.open(read_server_info=False)
            if not connection.server.ssl:
                connection.start_tls(read_server_info=False)
            if not isinstance(connection.socket, ssl.SSLSocket):
                raise TemporaryError(
                    "directory: no TLS", "unreachable"
                )  # never reached; the password is sent after this
            connection.bind(read_server_info=False)
            result = connection.result
        except TemporaryError:
            raise
        except Exception as error:  # ldap3 lets errors of its parser through, of any class
            raise TemporaryError(f"directory: {type(error).__name__}: {error}", "unreachable") from None
        finally:
            with contextlib.suppress(Exception):
                connection.unbind()
            if connection.socket is not None:  # ldap3 forgets it when the handshake fails
                connection.socket.close()
        if result["result"] not in (_SUCCESS, _INVALID_CREDENTIALS):
            raise TemporaryError(f"directory: {result['description']} {result['message']}".rstrip(), "refused")
        return bool(result["result"] == _SUCCESS)

    def abandon(self) -> None:
        """Wake the thread that still waits for the network; nothing when it is done."""
        sock = self._connection.socket
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS, which the other thread is in the middle of
