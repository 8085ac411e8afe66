"""Owns a real Postfix, as upstream or as client: own configuration, own queue, loopback only, every mail into one Maildir.

Settings keep Postfix from changing what it gets, so that tests can compare octets.  Needs root and Debian's postfix.
"""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import free_port, greets, wait_until

_MASTER = """\
127.0.0.1:{port} inet n - n - 50 smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
virtual   unix  - n n - - virtual
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
tlsmgr    unix  - - n 1000? 1 tlsmgr
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = /
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = upstream.example.org
mydestination =
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_banner = upstream.example.org ESMTP
smtpd_error_sleep_time = 0
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.org
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
message_size_limit = 40000000
header_size_limit = 1000000
local_header_rewrite_clients =
message_drop_headers =
disable_mime_input_processing = yes
disable_mime_output_conversion = yes
always_add_missing_headers = no
in_flow_delay = 0
line_length_limit = 200000
{extra}
"""


@dataclass
class Postfix:
    """A running Postfix."""

    folder: Path
    port: int

    @property
    def inbox(self) -> Path:
        """The Maildir."""
        return self.folder / "mail" / "inbox"

    def files(self) -> list[Path]:
        """Everything delivered."""
        return [path for sub in ("new", "cur") if (self.inbox / sub).is_dir() for path in (self.inbox / sub).iterdir()]

    def queued(self) -> int:
        """Messages that Postfix has accepted and not yet delivered."""
        folders = ("incoming", "active", "deferred", "hold", "maildrop", "corrupt")
        return sum(1 for name in folders for path in (self.folder / "queue" / name).rglob("*") if path.is_file())

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until everything accepted is delivered."""
        wait_until(lambda: self.queued() == 0, seconds, "Postfix to deliver everything")

    def by_recipient(self) -> dict[str, list[bytes]]:
        """X-Original-To -> the mails as they lie on disk (LF)."""
        found: dict[str, list[bytes]] = {}
        for path in self.files():
            octets = path.read_bytes()
            match = re.search(rb"^X-Original-To: (.*)$", octets, re.MULTILINE)
            assert match is not None
            found.setdefault(match[1].decode(), []).append(octets)
        return found


@contextmanager
def running_postfix(extra: str = "") -> Iterator[Postfix]:
    """Start a Postfix of our own, stop it at the end.

    Its folder is not below pytest's: every pytest run closes that to all but its own user, and Postfix' processes that
    run as another user would lose their queue in the middle of a test.
    """
    with tempfile.TemporaryDirectory(prefix="filterd-postfix-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield from _run(folder, extra)


def _run(folder: Path, extra: str) -> Iterator[Postfix]:
    user = pwd.getpwnam("nobody")
    for name in ("conf", "queue", "data", "mail"):
        (folder / name).mkdir(parents=True)
    shutil.chown(folder / "mail", user.pw_uid, user.pw_gid)
    shutil.chown(folder / "data", "postfix")
    postfix = Postfix(folder, free_port())
    conf = folder / "conf"
    (conf / "master.cf").write_text(_MASTER.format(port=postfix.port))
    (conf / "main.cf").write_text(_MAIN.format(folder=folder, uid=user.pw_uid, gid=user.pw_gid, extra=extra))
    control = ["/usr/sbin/postfix", "-c", str(conf)]
    for step in (["set-permissions"], ["start"]):
        done = subprocess.run([*control, *step], capture_output=True, text=True, timeout=60, check=False)
        assert step == ["set-permissions"] or done.returncode == 0, done.stdout + done.stderr + _log(folder)
    try:
        wait_until(lambda: greets(postfix.port), 30, "Postfix to greet")
        yield postfix
    finally:
        subprocess.run([*control, "abort"], capture_output=True, timeout=60, check=False)


def _log(folder: Path) -> str:
    path = folder / "maillog"
    return path.read_text()[-3000:] if path.exists() else ""
