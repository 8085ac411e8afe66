"""Owns the tables of learning and of users' reports.  Must not know what the values are used for."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from filterd.config.base import Domain, Table
from filterd.mail.address import parse_mailbox

# What may stand in a header field and in an attribute of a page as it is.
_HTTPS = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?")
_KEY_OCTETS = 32  # of an Ed25519 public key (RFC 8032 5.1.5)


def _public_key(value: str) -> str:
    try:
        octets = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != _KEY_OCTETS:
        raise ValueError("expected an Ed25519 public key in base64 (44 characters), as `filterd models key` prints it")
    return value


PublicKey = Annotated[str, AfterValidator(_public_key)]


class LearningConfig(Table):
    """How reports become a model: training, the gate, shadow, promotion, rollback."""

    train_hours: int = Field(default=24, ge=0, le=8760)
    """Hours between trainings of a candidate by itself, when there are enough new reports; 0: only when somebody asks. Default 24."""
    train_reports: int = Field(default=20, ge=1, le=1_000_000)
    """New reports that count which make such a training worth it. Default 20."""
    promote: Literal["manual", "automatic"] = "manual"
    """Who promotes a candidate that passed the gate and its shadow time: an administrator, or filterd itself. Default manual."""
    gate_messages: int = Field(default=30, ge=1, le=100_000)
    """Held-out messages of each class that the gate needs; with fewer it says that there is not enough evidence. Default 30."""
    shadow_hours: int = Field(default=24, ge=0, le=720)
    """How long a candidate that passed the gate scores live mail beside the model in use; with 0 the messages decide alone. Default 24."""
    shadow_messages: int = Field(default=500, ge=0, le=10_000_000)
    """Messages that it must have scored by then; 0, with shadow_hours = 0 too: there is no shadow. Default 500."""
    shadow_stricter: float = Field(default=0.002, ge=0, le=1)
    """Share of them whose verdict may become stricter (tag, quarantine) before filterd stops its promotion. Default 0.002."""
    rollback: bool = True
    """Go back to the model before by itself when releases and not-spam reports rise after a promotion. Default true."""
    rollback_days: int = Field(default=7, ge=1, le=90)
    """Days after a promotion in which that is watched, and days before it that it is compared with. Default 7."""
    agreement: float = Field(default=0.5, ge=0, le=10)
    """Trust of all reporters of one campaign together from which it is learned; a new reporter has 0.3, one with an agreed report 0.53. Default 0.5: two new ones, or one that was right before."""
    reports_per_hour: int = Field(default=20, ge=1, le=10_000)
    """Reports of one person in an hour; what exceeds it is held for a review. Default 20."""
    trusted_keys: tuple[PublicKey, ...] = Field(default=(), strict=False)
    """Ed25519 public keys (base64) of other sites whose models `filterd models import` takes and workers load. Default none: our own key only."""


class ReportsConfig(Table):
    """Where users report mail to: addresses on internal listeners, and buttons in Outlook."""

    domain: Domain | None = None
    """Domain of the report addresses spam@, phish@ and notspam@, taken on listeners with trust report, internal or authenticated only. Default none: no reports by mail."""
    answer: bool = True
    """Answer each report mail with one short mail that says what was done. Default true."""
    answer_from: str = Field(default="", max_length=320)
    """Author of these answers. Default empty: postmaster at reports.domain."""
    public_url: str = Field(default="", max_length=1000)
    """Where Outlook reaches the side service through your reverse proxy, such as https://filter.example.org. Default empty: no add-in."""
    exchange_certificate: Path | None = None
    """PEM file with the certificate(s) that Exchange signs identity tokens with (Get-AuthConfig, CurrentCertificateThumbprint). Default none: no add-in."""
    office_js: str = Field(default="https://appsforoffice.microsoft.com/lib/1/hosted/office.js", max_length=1000)
    """Where the add-in's page loads Microsoft's Office.js from. Default https://appsforoffice.microsoft.com/lib/1/hosted/office.js."""

    @field_validator("answer_from")
    @classmethod
    def _answer_from_is_a_mailbox(cls, value: str) -> str:
        if value and (parse_mailbox(value) is None or not value.isascii()):
            raise ValueError("expected user@domain in ASCII")
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url_is_an_address(cls, value: str) -> str:
        if value and not _HTTPS.fullmatch(value):
            raise ValueError(
                "expected https:// and a host, perhaps a port and a path, such as https://filter.example.org"
            )
        return value

    @field_validator("office_js")
    @classmethod
    def _office_js_is_an_address(cls, value: str) -> str:
        if not (_HTTPS.fullmatch(value) and value.endswith("/office.js")):
            raise ValueError("expected https://, a host and the path of a file that is called office.js")
        return value

    @model_validator(mode="after")
    def _addin_is_whole(self) -> ReportsConfig:
        if bool(self.public_url) != (self.exchange_certificate is not None):
            raise ValueError("public_url and exchange_certificate must be given together")
        return self

    @property
    def addin(self) -> bool:
        """Whether the add-in is served."""
        return bool(self.public_url)
