"""Owns a directory server on loopback that answers each search as a test wants, message by message.  Clear text, anonymous."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ldap3.protocol import rfc4511
from ldap3.protocol.rfc2696 import paged_search_control
from ldap3.utils.asn1 import encode
from pyasn1.codec.ber import decoder

from tests.support.listener import Listener

_UNAVAILABLE = 52


@dataclass(frozen=True)
class Search:
    """One search that was asked.  `number`: of its message."""

    number: int
    base: str
    attributes: tuple[str, ...]


Answers = Callable[[Search], Sequence[bytes]]


class LdapLiar(Listener):
    """Serves one connection after the other until the block ends; offers no StartTLS, and asks for no bind."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        self._answers = answers
        self.asked: list[Search] = []

    def talk(self, sock: socket.socket) -> None:
        """Answer what is asked."""
        while octets := sock.recv(65536):  # one request at a time, and none is long
            request, _ = decoder.decode(octets, asn1Spec=rfc4511.LDAPMessage())
            number, operation = int(request["messageID"]), request["protocolOp"]
            if operation.getName() == "extendedReq":
                sock.sendall(message(number, "extendedResp", _result(rfc4511.ExtendedResponse(), _UNAVAILABLE, "")))
            elif operation.getName() == "searchRequest":
                asked = operation.getComponent()
                search = Search(number, str(asked["baseObject"]), tuple(map(str, asked["attributes"])))
                self.asked.append(search)
                for answer in self._answers(search):
                    sock.sendall(answer)


def message(number: int, kind: str, operation: Any, control: Any = None) -> bytes:
    """A message as ldap3 writes it."""
    whole = rfc4511.LDAPMessage()
    whole["messageID"] = rfc4511.MessageID(number)
    whole["protocolOp"] = rfc4511.ProtocolOp().setComponentByName(kind, operation)
    if control is not None:
        whole["controls"] = rfc4511.Controls().setComponentByPosition(0, control)
    return bytes(encode(whole))


def entry(number: int, dn: str, attributes: Mapping[str, Sequence[bytes]]) -> bytes:
    """One object that was found."""
    found = rfc4511.SearchResultEntry()
    found["object"] = rfc4511.LDAPDN(dn)
    listed = rfc4511.PartialAttributeList()
    for place, (name, values) in enumerate(attributes.items()):
        one = rfc4511.PartialAttribute()
        one["type"] = rfc4511.AttributeDescription(name)
        group = rfc4511.Vals()
        for at, value in enumerate(values):
            group.setComponentByPosition(at, rfc4511.AttributeValue(value))
        one["vals"] = group
        listed.setComponentByPosition(place, one)
    found["attributes"] = listed
    return message(number, "searchResEntry", found)


def done(number: int, code: int = 0, text: str = "", cookie: bytes = b"", matched: str = "") -> bytes:
    """The end of a page."""
    end = _result(rfc4511.SearchResultDone(), code, text, matched)
    return message(number, "searchResDone", end, paged_search_control(False, 0, cookie))


def _result(answer: Any, code: int, text: str, matched: str = "") -> Any:
    answer["resultCode"] = code
    answer["matchedDN"] = rfc4511.LDAPDN(matched)
    answer["diagnosticMessage"] = rfc4511.LDAPString(text)
    return answer
