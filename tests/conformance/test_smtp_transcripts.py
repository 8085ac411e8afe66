"""The transcripts of go-smtp's server tests (42) put to the front end, on the pure core and over a socket.

24 run as they are, 13 with our own answers where we differ on purpose, 5 do not apply; every one is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from filterd.frontends.smtp.link import MAX_COMMAND
from filterd.frontends.smtp.shared import _OWN_FIELDS
from filterd.mail.reply import Reply
from tests.support.dialogs import Dialog, Step, escaped, play_on_core, play_over_socket
from tests.support.material import conformance_dir
from tests.support.memorylink import lines, single, whole

NOT_APPLICABLE = {
    "TestServerAcceptErrorHandling": "no steps: Go's listener; asyncio accepts for us",
    "TestServerShutdown": "no steps: the end of a Go server; ours drains, see tests/unit/frontends/smtp/test_link.py",
    "TestServer_smtpSmuggling": "the octets of its messages are not in the transcript; see test_smuggling.py",
    "TestServer_Chunking_LMTP": "LMTP answers once for each recipient; filterd speaks SMTP alone",
    "TestServerMTPRIORITY": "MT-PRIORITY is not offered, and its commands are not in the transcript",
}

_LINE_ENDS = "a bare CR or LF is a refusal, never part of a message: some servers take it for a line end"
_BRACKETS = "a path without angle brackets is refused: where it ends is not clear (docs/smtp.md)"
# Why we differ, and our replies, one after the other, when all is sent at once.
DIFFERENT: dict[str, tuple[str, Sequence[str]]] = {
    "TestServerPanicRecover": ("a crash of ours costs one command (451), not the connection (421)", ["451 4.3.0"]),
    "TestServer": (_LINE_ENDS, ["250", "250", "354", "550 5.6.11", "<close>"]),
    "TestServer_LFDotLF": (_LINE_ENDS, ["250", "250", "354", "550 5.6.11", "<close>"]),
    "TestServer_otherCommands": (
        "HELP is answered with the commands, not with 502",
        ["214", "252", "250", "250", "221", "<close>"],
    ),
    "TestServer_tooManyInvalidCommands": ("the last word is 421 4.7.0, not a second 500", ["421 4.7.0", "<close>"]),
    "TestServer_tooLongLine": (f"a command may have {MAX_COMMAND} octets: it is the parameter that is wrong", ["555"]),
    "TestServer_TooLongCommand": ("the enhanced code of RFC 3463 for syntax is 5.5.2", ["500 5.5.2", "<close>"]),
    "TestServer_anonymousUserOK": (_BRACKETS, ["501 5.1.7", "503", "503", "500", "500"]),
    "TestServer_authParam": (_BRACKETS, ["501 5.1.7", "501 5.1.7", "501 5.1.7", "503", "503", "500", "500"]),
    "TestServer_Chunking_Binarymime": (
        "BINARYMIME is not offered: the next hop may know DATA alone",
        ["501 5.5.4", "503", "503", "503"],
    ),
    "TestServerDSNwithSMTPUTF8": (
        "an address beyond ASCII needs MAIL with SMTPUTF8 (RFC 6531 3.4), which the transcript does not say",
        ["250", "250", "553 5.6.7", "553 5.6.7", "354", "250"],
    ),
    "TestServerRRVS": (
        "RRVS is not offered, so its parameter is unknown",
        ["250", "501 5.5.4", "555 5.5.4", "555 5.5.4", "555 5.5.4", "554", "500", "500"],
    ),
    "TestServerDELIVERBY": ("DELIVERBY is not offered", ["250", "555 5.5.4", "554", "500", "500"]),
}

# What the transcript sends without saying what must come back.
UNSAID = {"TestServer_authDisabled": "502 ", "TestServer_anonymousUserError": "530 "}
# The mail side of the tests that had a backend of their own.
ANSWERS: dict[str, dict[str, Reply | Exception]] = {
    "TestServerPanicRecover": {"mail": RuntimeError("a fault in the test's backend")},
    "TestServer_Chunking_EarlyError": {"data_allowed": Reply(555, "5.0.0", "I failed")},
    "TestServer_Chunking_EarlyErrorDuringChunk": {"data_allowed": Reply(555, "5.0.0", "I failed")},
}
_REPEAT = re.compile(r'\+strings\.Repeat\("(.)", (\d+|s\.MaxLineLength)')


def transcripts() -> dict[str, dict[str, Any]]:
    document = json.loads((conformance_dir() / "smtp/go-smtp-transcripts/transcripts.json").read_text())
    return {test["test"]: test for test in document["tests"]}


def prepared(test: dict[str, Any]) -> Dialog:
    """The server that a test asks for, and its setup: where it logs in, ours wants TLS first."""
    dialog = Dialog(test["test"], listener={"tls": "starttls"}, answers=ANSWERS.get(test["test"], {}))
    options = test["server_options"]
    dialog.upstream = {"8BITMIME": ""}
    dialog.upstream |= {"DSN": ""} if "EnableDSN" in options else {}
    dialog.upstream |= {"SMTPUTF8": ""} if "EnableSMTPUTF8" in options else {}
    most = int(options.get("MaxMessageBytes", 0))
    if most >= 1024:
        dialog.limits["message_bytes"] = most
    elif most:  # less than our configuration allows, but upstream may say so
        dialog.upstream["SIZE"] = str(most + _OWN_FIELDS)
    if test["test"] == "TestServer_tooManyInvalidCommands":
        dialog.limits["errors"] = 1
    if test["test"] != "TestServer_authDisabled":
        dialog.listener["auth"] = True
        dialog.accounts["username"] = "password"
    if test["test"] == "TestServer_anonymousUserError":
        dialog.listener["trust"] = "authenticated"
    say(dialog, ("S:", "220"))
    if test["setup"] != "testServerGreeted":
        say(dialog, ("C:", "STARTTLS"), ("S:", "220"), ("C:", "<tls>"), ("C:", "EHLO localhost"), ("S~", "250"))
    if test["setup"] == "testServerAuthenticated":
        say(dialog, ("C:", "AUTH PLAIN AHVzZXJuYW1lAHBhc3N3b3Jk"), ("S:", "235"))
    return dialog


def say(dialog: Dialog, *steps: tuple[str, str]) -> None:
    for sign, text in steps:
        dialog.steps.append(Step(len(dialog.steps) + 1, sign, text))


def sent(step: dict[str, Any]) -> bytes:
    """The octets of a send; some have a repetition that the transcript gives as Go."""
    octets = step["send"].encode()
    if "plus_expression" in step:
        match = _REPEAT.match(step["plus_expression"])
        assert match is not None
        octets += match[1].encode() * (int(match[2]) if match[2].isdigit() else MAX_COMMAND) + b"\r\n"
    assert isinstance(octets, bytes)
    return octets


def as_dialog(test: dict[str, Any]) -> Dialog:
    """In lockstep: a reply that the transcript does not look at is a success."""
    dialog = prepared(test)
    for step, usual in with_replies(test["steps"]):
        if "send" in step:
            say(dialog, ("C+", escaped(sent(step))))
        elif "expect_prefix" in step:
            say(dialog, ("S~", step["expect_prefix"]))
        elif "must_not_prefix" in step:
            say(dialog, ("S!", step["must_not_prefix"]))
        elif test["setup"] == "testServerAuthenticated":  # the messages of others lie in another list of the suite's
            if "expect_message_count" in step:
                dialog.messages = [] if not step["expect_message_count"] else dialog.messages
            else:
                dialog.messages = [step["expect_message_data"].encode()]
        if usual:
            say(dialog, ("S~", UNSAID.get(test["test"], usual)))
    return dialog


def with_replies(steps: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every step, and for a send that is answered, but not looked at, how the answer usually begins."""
    data, left = False, 0
    for at, step in enumerate(steps):
        usual = ""
        if "send" in step:
            text = sent(step)
            if data:
                data = not text.endswith(b".\r\n") or text[-4:-3] not in (b"", b"\n")
                usual = "" if data else "2"
            elif left:
                left -= len(text)
                assert left >= 0
                usual = "" if left else "2"
            elif text.startswith(b"BDAT"):
                left = int(text.split()[1])
            else:
                data = text == b"DATA\r\n"
                usual = "3" if data or text == b"AUTH PLAIN\r\n" else "2"
        looked_at = at + 1 < len(steps) and steps[at + 1].keys() & {"expect_prefix", "must_not_prefix"}
        yield step, "" if looked_at else usual


def play(dialog: Dialog) -> None:
    for pieces in (whole, lines, single):
        play_on_core(dialog, pieces)
    play_over_socket(dialog)


def test_every_transcript_is_accounted_for() -> None:
    tests = transcripts()
    assert len(tests) == 42
    assert sum(len(test["steps"]) for test in tests.values()) == 256
    assert not NOT_APPLICABLE.keys() & DIFFERENT.keys()
    assert NOT_APPLICABLE.keys() | DIFFERENT.keys() | UNSAID.keys() | ANSWERS.keys() <= tests.keys()
    assert (len(NOT_APPLICABLE), len(DIFFERENT), len(as_they_are())) == (5, 13, 24)


def as_they_are() -> list[str]:
    return [name for name in transcripts() if name not in NOT_APPLICABLE and name not in DIFFERENT]


def test_transcripts_as_they_are() -> None:
    tests = transcripts()
    for name in as_they_are():
        dialog = as_dialog(tests[name])
        assert any(step.sign[0] == "S" for step in dialog.steps), name
        try:
            play(dialog)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}; {[s.text for s in dialog.steps]}") from error


@pytest.mark.parametrize("name", DIFFERENT)
def test_where_we_differ(name: str) -> None:
    test = transcripts()[name]
    dialog = prepared(test)
    say(dialog, ("C+", escaped(b"".join(sent(step) for step in test["steps"] if "send" in step))))
    say(dialog, *(("S:", reply) for reply in DIFFERENT[name][1]))
    dialog.messages = [b"Hey <3\r\n"] if "250" in DIFFERENT[name][1][4:] and "354" in DIFFERENT[name][1] else []
    play(dialog)
