"""Owns the tables about who is protected against being played: people and domains.  Must not know how likeness is found."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from filterd.config.base import Domain, Table
from filterd.mail.address import parse_mailbox


def _address(text: str) -> str:
    if parse_mailbox(text) is None:
        raise ValueError("expected a mail address such as erika@example.org")
    return text


def _person(text: str) -> str:
    if len(text.split()) < 2:
        raise ValueError("expected a first and a last name; one word alone is the name of too many")
    return text


class PersonConfig(Table):
    """Somebody whose name others use to be obeyed: board, accounting, personnel."""

    name: Annotated[str, Field(max_length=100), AfterValidator(_person)]
    """Name as people know it, such as Erika Mustermann; order, case, accents and titles do not matter."""
    addresses: tuple[Annotated[str, AfterValidator(_address)], ...] = Field(default=(), strict=False)
    """All addresses that this person writes from, private ones too: their local parts are protected, and mail from them is not impersonation unless DMARC fails. Default none."""


class ImpersonationConfig(Table):
    """Mail that plays somebody whom the recipients trust; what it leads to stands in policy.impersonation."""

    partners: tuple[Domain, ...] = Field(default=(), strict=False)
    """Domains beside the accepted ones whose look-alikes are watched: banks, suppliers, parent companies, with all their endings. Default none."""
    people: tuple[PersonConfig, ...] = Field(default=(), strict=False)
    """Protected people. Default none."""
