"""Owns what the SMTP front end asks of the engine: one Session per connection, one reply per command.  RFC 5321 4.1.

Must not know who answers, nor sockets.
"""

from __future__ import annotations

from typing import Protocol

from filterd.mail.address import Mailbox
from filterd.mail.envelope import Connection, Recipient
from filterd.mail.message import Message
from filterd.mail.reply import Reply


class Session(Protocol):
    """The mail side of one SMTP connection.

    Methods are called one at a time, in the order of the client's commands, and are never cancelled by the front end:
    neither a timer nor a client that disconnects ends a call early.  The caller has checked syntax, order and bounds.
    Every method bounds its own waiting.  An exception becomes 451 4.3.0 (421 4.3.0 in the factory).

    Attributes:
        greeting: a refusal that is said instead of the banner, or None.
        greet_seconds: how long the banner is held back, to see who talks first.
        reference: our id of the transaction that is open or was the last one; empty before the first.
    """

    greeting: Reply | None

    @property
    def greet_seconds(self) -> float: ...

    @property
    def reference(self) -> str: ...

    def spoke_early(self, before_greeting: bool) -> None:
        """The client did not wait: it spoke before the greeting, or sent commands behind HELO or EHLO before the answer.

        The second is told before `helo` is called for that command.
        """
        ...

    async def authenticated(self, user: str) -> None:
        """AUTH succeeded: from now on the client is `user`, of the trust class authenticated."""
        ...

    async def secured(self, tls: str) -> None:
        """STARTTLS succeeded: everything but the connection is forgotten (RFC 3207 4.2); `tls` is protocol and cipher."""
        ...

    async def helo(self, name: str, esmtp: bool) -> Reply:
        """HELO or EHLO: 250, or a refusal.  The front end adds the list of extensions to a 250."""
        ...

    async def mail(self, reverse_path: Mailbox | None, parameters: tuple[str, ...]) -> Reply:
        """MAIL: 250 opens a mail transaction.  None is the null reverse-path."""
        ...

    async def rcpt(self, recipient: Recipient) -> Reply:
        """RCPT: 250 adds the recipient to the transaction."""
        ...

    async def data_allowed(self) -> Reply | None:
        """Whether the message may be sent now: None says 354, anything else is the refusal of DATA."""
        ...

    async def data(self, message: Message, refusal: Reply | None) -> Reply:
        """End of data: the final answer; the transaction is over.

        With `refusal` the front end could not take the message (too big, bare LF, no room); `message` then holds only its
        beginning, or nothing.  The answer must be that refusal, which may get a reference; a success is never said.
        """
        ...

    async def reset(self) -> None:
        """RSET, EHLO or HELO again, or MAIL after a DATA that had no valid recipients.  Nothing may be open."""
        ...

    async def close(self, reason: str) -> None:
        """The connection is over; called once, last.

        `reason` is one of: quit, closed (by us, after a reply that said so), disconnect, timeout, tls, failure, drain,
        xclient (another session of the same connection follows).
        """
        ...


class SessionFactory(Protocol):
    """Makes the Session of a new connection."""

    async def __call__(self, connection: Connection) -> Session:
        """Run the connect stage; the banner waits for it."""
        ...
