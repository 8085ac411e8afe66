"""Real clients through the running filter to a real Postfix: what they send arrives octet for octet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import smtplib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificate import write_certificate
from tests.support.chain import Chain, chain, listener
from tests.support.daemon import wait_until
from tests.support.dialogs import trusting
from tests.support.postfix import running_postfix
from tests.support.smtpclient import SmtpClient

pytestmark = [pytest.mark.slow, pytest.mark.server("postfix")]

USER, PASSWORD = "anna", "correct horse"
LAST = b"\r\n"  # smtp-source ends every message with an empty line
# Where a front server says that the client is; 127.0.0.0/8 is on the allow list of these tests.
ELSEWHERE = "127.9.8.7"


@dataclass
class Stage:
    """A chain whose filterd has a listener for everything."""

    chain: Chain
    starttls: int
    submission: int
    implicit: int
    proxy: int
    xclient: int
    folder: Path


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("clients")
    certificate, key = write_certificate(folder)
    tls = (f"tls_certificate = '{certificate}'", f"tls_key = '{key}'")
    login = ("auth = true", 'trust = "authenticated"', *tls)
    listeners = (
        listener("tls", *tls),
        listener("submission", 'tls = "required"', *login),
        listener("smtps", 'tls = "implicit"', *login),
        listener("balanced", 'proxy_from = ["127.0.0.1"]'),
        listener("fronted", 'xclient_from = ["127.0.0.1"]'),
    )
    accounts = folder / "accounts"
    tables = "".join(table for _, table in listeners) + f"[auth]\nfile = '{accounts}'\n"
    done = subprocess.run(
        [sys.executable, "-m", "filterd", "password", USER],
        input=PASSWORD + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    accounts.write_text(done.stdout)
    accounts.chmod(0o600)
    with chain(folder, "postfix", tables) as running:
        starttls, submission, implicit, proxy, xclient = (port for port, _ in listeners)
        yield Stage(running, starttls, submission, implicit, proxy, xclient, folder)


def message(name: str, lines: int = 20) -> bytes:
    """A message with dots at the beginning of lines, long lines, empty lines; `name` makes it one of its kind."""
    body = b"".join(b".%d\r\n..\r\n\r\n%s\r\n" % (n, b"text " * (n % 190)) for n in range(lines))
    head = f"X-Test: {name}\r\nFrom: anna@example.com\r\nTo: bob@example.org\r\nSubject: {name}\r\n"
    head += f"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{name}@example.com>\r\n\r\n"
    return head.encode() + body


def written(stage: Stage, name: str, lines: int = 20) -> tuple[bytes, Path]:
    """A message and the file from which clients read it."""
    octets = message(name, lines)
    return octets, as_file(stage.folder / f"{name}.eml", octets)


def as_file(path: Path, octets: bytes) -> Path:
    """With LF, and none at the end: swaks and smtp-source give every line its CRLF, an empty last one too."""
    path.write_bytes(octets.removesuffix(b"\r\n").replace(b"\r\n", b"\n"))
    return path


def arrived(stage: Stage, name: str) -> tuple[bytes, bytes]:
    """The one message of this name: what filterd put in front, and what the client sent."""
    first = f"X-Test: {name}\r\n".encode()
    (octets,) = [octets for _, octets in stage.chain.arrived() if first in octets]
    at = octets.index(first)
    return octets[:at], octets[at:]


def run(*command: str, status: int | None = 0, env: dict[str, str] | None = None) -> str:
    """What a client prints; it must end with `status`, or with None in any failure.  `env`: variables of its own."""
    whole = {**os.environ, **(env or {})}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, env=whole)
    output = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == status or (status is None and done.returncode), output
    return output


# ---------------------------------------------------------------- Postfix


def test_smtp_source_many_sessions(stage: Stage) -> None:
    octets, path = written(stage, "source")
    target = f"127.0.0.1:{stage.chain.daemon.smtp_port}"
    run("smtp-source", "-4", "-s", "10", "-m", "60", "-f", "anna@example.com", "-t", "bob@example.org",
        "-N", "-r", "2", "-F", str(path), target)  # fmt: skip
    got = [octets for to, octets in stage.chain.arrived() if b"X-Test: source\r\n" in octets]
    assert len(got) == 120
    assert {copy[copy.index(b"X-Test:") :] for copy in got} == {octets + LAST}


def test_smtp_source_large(stage: Stage) -> None:
    """4 MB in small TCP windows, and three times 2 MB on one connection."""
    octets, path = written(stage, "large", lines=10_000)
    assert len(octets) > 4_000_000
    target = f"127.0.0.1:{stage.chain.daemon.smtp_port}"
    run("smtp-source", "-4", "-f", "anna@example.com", "-t", "bob@example.org", "-T", "8192", "-F", str(path), target)
    assert arrived(stage, "large")[1] == octets + LAST
    before = len(stage.chain.arrived())
    run(
        "smtp-source",
        "-4",
        "-d",
        "-m",
        "3",
        "-l",
        "2000000",
        "-f",
        "anna@example.com",
        "-t",
        "dora@example.org",
        target,
    )
    copies = [octets for to, octets in stage.chain.arrived() if to == "dora@example.org"]
    assert len(stage.chain.arrived()) == before + 3
    assert [copy.partition(b"\r\n\r\n")[2].count(b"X") > 1_900_000 for copy in copies] == [True] * 3


def test_smtp_source_to_smtp_sink(tmp_path: Path) -> None:
    octets = message("sink")
    path = as_file(tmp_path / "mail", octets)
    with chain(tmp_path, "sink") as running:
        run("smtp-source", "-4", "-s", "5", "-m", "20", "-f", "anna@example.com", "-t", "bob@example.org",
            "-F", str(path), f"127.0.0.1:{running.daemon.smtp_port}")  # fmt: skip
        assert running.messages("bob@example.org", b"X-Test:") == [octets + LAST] * 20


def test_postfix_as_client_with_starttls(stage: Stage) -> None:
    """A relay: BDAT from us to Postfix, its own client to filterd, filterd to the other Postfix."""
    octets = message("relayed", lines=2000)
    extra = f"""
virtual_mailbox_domains =
relay_domains = example.org
relayhost = [127.0.0.1]:{stage.starttls}
smtp_tls_security_level = encrypt
smtp_tls_loglevel = 1
smtp_dns_support_level = disabled
smtp_host_lookup = native
"""

    async def hand_in(port: int) -> None:
        client = await SmtpClient.greeted(port)
        assert (await client.command("MAIL FROM:<anna@example.com> BODY=8BITMIME")).startswith("250")
        assert (await client.command("RCPT TO:<bob@example.org> NOTIFY=NEVER")).startswith("250")
        await client.send(b"BDAT %d LAST\r\n%s" % (len(octets), octets))
        assert (await client.reply()).startswith("250")
        await client.close()

    with running_postfix(extra) as relay:
        asyncio.run(hand_in(relay.port))
        relay.settle()
        log = (relay.folder / "maillog").read_text()
    assert "TLS connection established to 127.0.0.1" in log, log
    assert "status=sent (250 " in log, log
    front, got = arrived(stage, "relayed")
    assert got == octets
    assert b"with ESMTPS" in front


@pytest.mark.server("postfix", "posttls-finger")
def test_posttls_finger(stage: Stage) -> None:
    settings = stage.folder / "posttls-finger"  # a fresh Debian package has no main.cf, and the program wants one
    settings.mkdir()
    (settings / "main.cf").write_text("compatibility_level = 3.6\n")
    command = ("posttls-finger", "-l", "encrypt", "-L", "summary", "-c", f"[127.0.0.1]:{stage.starttls}")
    output = run(*command, env={"MAIL_CONFIG": str(settings)})
    assert "TLSv1.3" in output


# ---------------------------------------------------------------- swaks


def swaks(stage: Stage, name: str, port: int, *options: str, status: int | None = 0) -> tuple[bytes, str]:
    """One message; returns its octets and what swaks printed."""
    octets, path = written(stage, name)
    said = run("swaks", "--server", "127.0.0.1", "--port", str(port), "--from", "anna@example.com",
               "--to", "bob@example.org", "--ehlo", "client.example.com", "--data", f"@{path}", *options,
               status=status)  # fmt: skip
    return octets, said


@pytest.mark.server("swaks")
@pytest.mark.parametrize(
    ("name", "where", "options", "trace"),
    [
        ("plain", "chain", (), b"with ESMTP "),
        ("helo", "chain", ("--protocol", "SMTP"), b"with SMTP "),
        ("pipeline", "chain", ("--pipeline",), b"with ESMTP "),
        ("starttls", "starttls", ("-tls",), b"with ESMTPS "),
        ("starttls-pipeline", "starttls", ("-tls", "--pipeline"), b"with ESMTPS "),
        ("auth-plain", "submission", ("-tls", "--auth", "PLAIN"), b"with ESMTPSA "),
        ("auth-login", "submission", ("-tls", "--auth", "LOGIN"), b"with ESMTPSA "),
        ("implicit", "implicit", ("--tls-on-connect", "--auth", "PLAIN"), b"with ESMTPSA "),
    ],
)
def test_swaks(stage: Stage, name: str, where: str, options: tuple[str, ...], trace: bytes) -> None:
    port = stage.chain.daemon.smtp_port if where == "chain" else int(getattr(stage, where))
    if "--auth" in options:
        options += ("--auth-user", USER, "--auth-password", PASSWORD)
    octets, _ = swaks(stage, f"swaks-{name}", port, *options)
    front, got = arrived(stage, f"swaks-{name}")
    assert got == octets
    assert trace in b" ".join(front.split())


@pytest.mark.server("swaks")
@pytest.mark.parametrize("version", ["1", "2"])
def test_swaks_behind_a_load_balancer(stage: Stage, version: str) -> None:
    family = "TCP4" if version == "1" else "AF_INET"
    options = ["--proxy-version", version, "--proxy-family", family, "--proxy-source", ELSEWHERE]
    options += ["--proxy-source-port", "4711", "--proxy-dest", "127.0.0.1", "--proxy-dest-port", "25"]
    octets, _ = swaks(stage, f"proxy-{version}", stage.proxy, *options)
    front, got = arrived(stage, f"proxy-{version}")
    assert got == octets
    assert f"[{ELSEWHERE}]".encode() in front
    # From somebody who is no load balancer it is refused, and nobody's message comes.
    _, said = swaks(stage, f"forged-{version}", stage.chain.daemon.smtp_port, *options, status=None)
    assert ("550 5.7.1 PROXY" if version == "1" else "500 5.5.") in said
    assert not [octets for _, octets in stage.chain.arrived() if f"forged-{version}".encode() in octets]


@pytest.mark.server("swaks")
def test_swaks_with_xclient(stage: Stage) -> None:
    options = ["--xclient-addr", ELSEWHERE, "--xclient-name", "mx.example.com", "--xclient-helo", "said.example.com"]
    octets, _ = swaks(stage, "xclient", stage.xclient, *options)
    front, got = arrived(stage, "xclient")
    assert got == octets
    assert f"[{ELSEWHERE}]".encode() in front
    assert b"said.example.com" in front


@pytest.mark.server("swaks")
def test_a_wrong_password_and_none(stage: Stage) -> None:
    login = ("--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD + "!")
    assert "535 5.7.8" in swaks(stage, "wrong", stage.submission, "-tls", *login, status=28)[1]
    assert "530 5.7.0" in swaks(stage, "nobody", stage.submission, "-tls", status=23)[1]
    assert not [
        octets for _, octets in stage.chain.arrived() if b"X-Test: wrong" in octets or b"X-Test: nobody" in octets
    ]


# ---------------------------------------------------------------- OpenSSL, Python


@pytest.mark.server("openssl")
def test_openssl_s_client_typing_a_message(stage: Stage) -> None:
    octets = message("typed")
    command = ["openssl", "s_client", "-starttls", "smtp", "-quiet", "-connect", f"127.0.0.1:{stage.starttls}"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        for line, reply in (
            (b"EHLO typist.example.com", b"250"),
            (b"MAIL FROM:<anna@example.com>", b"250 2.1.0"),
            (b"RCPT TO:<bob@example.org>", b"250 2.1.5"),
            (b"DATA", b"354"),
            (octets.replace(b"\r\n.", b"\r\n..") + b".", b"250 2."),
            (b"QUIT", b"221"),
        ):
            process.stdin.write(line + b"\r\n")
            heard = process.stdout.readline()
            while heard[3:4] == b"-":
                heard = process.stdout.readline()
            assert heard.startswith(reply), (line[:40], heard)
        assert process.wait(20) == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    assert arrived(stage, "typed")[1] == octets


def test_smtplib(stage: Stage) -> None:
    octets = message("smtplib")
    with smtplib.SMTP("127.0.0.1", stage.submission, timeout=20) as client:
        client.starttls(context=trusting())
        client.login(USER, PASSWORD)
        client.sendmail("anna@example.com", ["bob@example.org"], octets, ["BODY=8BITMIME", "RET=HDRS"])
    assert arrived(stage, "smtplib")[1] == octets
    with smtplib.SMTP_SSL("127.0.0.1", stage.implicit, timeout=20, context=trusting()) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(USER, "wrong")
        with contextlib.suppress(smtplib.SMTPException):
            client.quit()
    wait_until(lambda: "login refused" in stage.chain.daemon.log_text(), 10, "the log of a refused login")
