"""Owns one connection to a directory: TLS, bind, questions, answers page by page; every wait has a deadline.  RFC 4511, 4513, 2696.

With accounts_ldap.py the only file that imports ldap3, which forms the requests here; answers are read by wire/ldap_answer.py.
Must not know what the attributes mean, nor which server is asked next.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ldap3 import BASE, DEREF_NEVER, SUBTREE
from ldap3.core.exceptions import LDAPException
from ldap3.operation.search import search_operation
from ldap3.protocol import rfc4511
from ldap3.protocol.controls import build_control
from ldap3.protocol.rfc2696 import paged_search_control
from ldap3.utils.asn1 import encode

from filterd.adapters.ldap_errors import LdapError, no_connection, result_error, tls_failed
from filterd.adapters.ldap_ranges import whole
from filterd.config import LdapConfig
from filterd.deadline import Deadline
from filterd.errors import ConfigError
from filterd.wire.ldap_answer import Answer, AnswerReader, Done, Entry, Goodbye, LdapAnswerError, Reference

_GLOBAL_CATALOG = (3268, 3269)  # facts: exchange.md 3.2
_PORTS = {"ldap": 389, "ldaps": 636}
_START_TLS = "1.3.6.1.4.1.1466.20037"  # RFC 4511 section 4.14
_SHOW_DELETED = "1.2.840.113556.1.4.417"  # [MS-ADTS] 3.1.1.3.4.1.14
_READ = 65_536
_SUCCESS, _NO_SUCH_OBJECT = 0, 32
MAX_REFERENCES = 1000  # of one page; a forest has one per naming context
MAX_EMPTY_PAGES = 1000  # one after the other: a server may stop early in a search that finds little
MAX_PAGE_BYTES = 256 * 1024 * 1024  # of one answer; a page of 1,000 mailboxes with full lists of senders has 30 MB


def trust(ca_file: Path | None, field: str, *, verify: bool) -> ssl.SSLContext:
    """The TLS settings towards a directory.  Raises ConfigError that names `field`."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        text = f"{field}: {ca_file}: expected certificates in PEM: {error.strerror or error}"
        raise ConfigError([text]) from None
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def password_of(config: LdapConfig) -> bytes:
    """The first line of the password's file.  Raises ConfigError: unreadable, or empty, which would be an anonymous bind."""
    if config.password_file is None:
        return b""
    what = f"ldap ({config.name}): password_file: {config.password_file}"
    try:
        with config.password_file.open("rb") as file:
            password = file.readline(4096).rstrip(b"\r\n")
    except OSError as error:
        raise ConfigError([f"{what}: cannot be read: {error.strerror}"]) from None
    if not password:
        raise ConfigError([f"{what}: expected the password in its first line, found nothing"])
    return password


class Link:
    """One connection, used by one thread; only `abandon` may be called from another one.

    Attributes:
        where: the server, for people.
        is_global_catalog: as its port says.
        elsewhere: DNs for which the server pointed to another one; nobody goes there.
    """

    def __init__(
        self, config: LdapConfig, url: str, context: ssl.SSLContext, password: bytes, deadline: Deadline
    ) -> None:
        """Nothing is connected yet.  Raises ConfigError for a url that has no such port."""
        parts = urlsplit(url)
        try:
            self._address = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        except ValueError:
            raise ConfigError([f"ldap ({config.name}): urls: {url}: expected a port from 1 to 65535"]) from None
        self.where = f"ldap {config.name}, {url}"
        self.is_global_catalog = self._address[1] in _GLOBAL_CATALOG
        self.elsewhere: set[str] = set()
        self._config, self._context, self._password, self._deadline = config, context, password, deadline
        self._encrypted = parts.scheme == "ldaps"
        self._socket: socket.socket | None = None
        self._number, self._abandoned = 0, False

    def open(self) -> None:
        """Connect, TLS, bind.  Blocks; raises LdapError."""
        self._connect()
        if self._encrypted:
            self._wrap()
        else:
            self._start_tls()
        if self._config.user:
            request = rfc4511.BindRequest()
            request["version"] = rfc4511.Version(3)
            request["name"] = rfc4511.LDAPDN(self._config.user)
            choice = rfc4511.AuthenticationChoice().setComponentByName("simple", rfc4511.Simple(self._password))
            request["authentication"] = choice
            done = self._ask("bindRequest", request)
            if done.code != _SUCCESS:
                raise result_error(self.where, done.code, done.text, self._config.user, done.referrals)

    def read(self, base: str, attributes: Sequence[str]) -> Entry | None:
        """One object, or None when there is none of that name (or none that we may see).  Blocks; raises LdapError."""
        found = self._read(base, attributes)
        return whole(found, self._read, self.where) if found is not None else None

    def _read(self, base: str, attributes: Sequence[str]) -> Entry | None:
        done, entries = self._search(base, "(objectClass=*)", attributes, BASE, ())
        if done.code == _NO_SUCH_OBJECT:
            return None
        if done.code != _SUCCESS:
            raise result_error(self.where, done.code, done.text, base or "rootDSE", done.referrals)
        return entries[0] if entries else None

    def pages(
        self, base: str, query: str, attributes: Sequence[str], *, show_deleted: bool = False
    ) -> Iterator[list[Entry]]:
        """What is found below `base`, page by page, each object with all of its values.  Blocks; raises LdapError."""
        cookie, in_vain = b"", 0
        while True:
            controls = [paged_search_control(False, self._config.page_size, cookie)]
            if show_deleted:
                controls.append(build_control(_SHOW_DELETED, True, None))
            done, entries = self._search(base, query, attributes, SUBTREE, controls)
            if done.code != _SUCCESS:
                raise result_error(self.where, done.code, done.text, base or "the whole forest", done.referrals)
            in_vain = 0 if entries else in_vain + 1
            if in_vain > MAX_EMPTY_PAGES:
                text = (
                    f"{in_vain} pages without entries below {base or 'the whole forest'}: see the directory's own log"
                )
                raise LdapError(f"{self.where}: {text}", "broken")
            yield [whole(entry, self._read, self.where) for entry in entries]
            if not done.cookie:
                return
            cookie = done.cookie

    def close(self) -> None:
        """End it; nothing when it is ended."""
        sock, self._socket = self._socket, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.settimeout(1.0)  # an unbind has no answer, and nobody waits for it to go out
                sock.sendall(_message(self._number + 1, "unbindRequest", rfc4511.UnbindRequest(""), ()))
            sock.close()

    def abandon(self) -> None:
        """Wake the thread that waits for the network; it gets an LdapError, now and for whatever it asks later."""
        self._abandoned = True
        sock = self._socket
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS, which the other thread is in the middle of

    # ------------------------------------------------------------ connection

    def _connect(self) -> None:
        try:
            self._socket = socket.create_connection(self._address, self._patience())
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
            raise no_connection(self.where, error) from None

    def _start_tls(self) -> None:
        request = rfc4511.ExtendedRequest()
        request["requestName"] = rfc4511.RequestName(_START_TLS)
        done = self._ask("extendedReq", request)
        if done.code == _SUCCESS:
            self._wrap()
        elif not self._config.allow_clear_text:
            remedy = "give it a certificate for LDAP, or use another server; ldap.allow_clear_text shows the password to all on the way"
            raise LdapError(f"{self.where}: the server offers no StartTLS: {remedy}", "tls")

    def _wrap(self) -> None:
        assert self._socket is not None
        try:
            self._socket.settimeout(self._patience())
            self._socket = self._context.wrap_socket(
                self._socket, server_hostname=self._address[0], do_handshake_on_connect=False
            )
            self._socket.do_handshake()
        except TimeoutError as error:
            raise no_connection(self.where, error) from None
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be one
            shown = self._shown() if isinstance(error, ssl.SSLCertVerificationError) else None
            raise tls_failed(self.where, error, self._address[0], shown, datetime.now(UTC)) from None

    def _shown(self) -> bytes | None:
        """The certificate that was refused, so that people can be told what is wrong; nothing is sent over this connection."""
        loose = ssl.create_default_context()
        loose.check_hostname = False
        loose.verify_mode = ssl.CERT_NONE
        url = self.where.rpartition(" ")[2]
        again = Link(self._config.model_copy(update={"user": ""}), url, loose, b"", self._deadline)
        try:
            again.open()
            return again._socket.getpeercert(binary_form=True) if isinstance(again._socket, ssl.SSLSocket) else None
        except (LdapError, OSError):
            return None
        finally:
            again.close()

    def _patience(self) -> float:
        """Seconds that may be waited now.  Raises LdapError when there are none."""
        if self._abandoned:
            raise LdapError(f"{self.where}: ended from this side", "abandoned")
        left = self._deadline.within(self._config.timeout_seconds).remaining
        if left <= 0:
            raise LdapError(
                f"{self.where}: not done in the time that is left: is the directory slow, or ldap.page_size too large?",
                "timeout",
            )
        return left

    # ------------------------------------------------------------ questions and answers

    def _search(
        self, base: str, query: str, attributes: Sequence[str], scope: str, controls: Sequence[Any]
    ) -> tuple[Done, list[Entry]]:
        try:
            # Without check_names: no schema is at hand, and no value is formatted by one.
            request = search_operation(base, query, scope, DEREF_NEVER, list(attributes), 0, 0, False, False, False)
        except LDAPException as error:  # a filter of ours holds a name from the configuration
            raise LdapError(f"{self.where}: {query!r} cannot be asked: {error}", "broken") from None
        entries: list[Entry] = []
        done = self._ask("searchRequest", request, controls, entries)
        return done, entries

    def _ask(self, kind: str, request: Any, controls: Sequence[Any] = (), entries: list[Entry] | None = None) -> Done:
        """Send one request and read its answer to the end.  The whole answer has ldap.timeout_seconds."""
        self._number += 1
        until = Deadline.after(self._patience())
        sock = self._socket
        assert sock is not None
        reader, read = AnswerReader(self._number), 0
        try:
            sock.settimeout(until.remaining)
            sock.sendall(_message(self._number, kind, request, controls))
            while True:
                left = until.remaining
                if left <= 0:
                    raise TimeoutError
                sock.settimeout(left)
                octets = sock.recv(_READ)
                if not octets:
                    raise ConnectionResetError("the server has ended the connection")
                read += len(octets)
                if read > MAX_PAGE_BYTES:
                    text = f"an answer of more than {MAX_PAGE_BYTES >> 20} MB: lower ldap.page_size, or look at what answers there"
                    raise LdapError(f"{self.where}: {text}", "broken")
                for answer in reader.feed(octets):
                    done = self._take(answer, entries)
                    if done is not None:
                        return done
        except (OSError, LdapAnswerError) as error:
            if self._abandoned:
                raise LdapError(f"{self.where}: ended from this side", "abandoned") from None
            if isinstance(error, LdapAnswerError):
                raise LdapError(f"{self.where}: {error}: is this the port of a directory?", "broken") from None
            raise no_connection(self.where, error) from None

    def _take(self, answer: Answer, entries: list[Entry] | None) -> Done | None:
        if isinstance(answer, Entry):
            if entries is not None:
                entries.append(answer)
                if len(entries) > 2 * self._config.page_size + MAX_REFERENCES:
                    raise LdapError(f"{self.where}: a page of more entries than were asked for", "broken")
        elif isinstance(answer, Reference):
            if len(self.elsewhere) < MAX_REFERENCES:
                self.elsewhere.update(answer.names())
        elif isinstance(answer, Goodbye):
            raise result_error(self.where, answer.code, answer.text, "the server ends the connection")
        else:
            return answer
        return None


def _message(number: int, kind: str, request: Any, controls: Sequence[Any]) -> bytes:
    message = rfc4511.LDAPMessage()
    message["messageID"] = rfc4511.MessageID(number)
    message["protocolOp"] = rfc4511.ProtocolOp().setComponentByName(kind, request)
    if controls:
        listed = rfc4511.Controls()
        for place, control in enumerate(controls):
            listed.setComponentByPosition(place, control)
        message["controls"] = listed
    return bytes(encode(message))
