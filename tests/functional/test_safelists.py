"""Safe and blocked senders from snapshot to verdict, and hybrid mail, as `filterd scan` shows them: real DNS answers, real files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from filterd.adapters.safelist_store import Calibration, path_of, save
from filterd.adapters.site_key import site_key
from filterd.cli import main
from filterd.directory.keys import KEY_BYTES, address_key
from filterd.directory.safelist import Variant
from filterd.directory.values import AcceptedDomain
from tests.support.directory import entry, put_snapshot
from tests.support.nameserver import running_nameserver

VARIANT = Variant("lower", "utf-16-le", "none", 0, "kept")
ONLINE = "mail-am0eur02on0710.outbound.protection.outlook.com"
ZONES = {
    "shop.example": '@ IN TXT "v=spf1 ip4:192.0.2.7 -all"\n_dmarc IN TXT "v=DMARC1; p=none"',
    "forged.example": '@ IN TXT "v=spf1 -all"\n_dmarc IN TXT "v=DMARC1; p=none"',
    "2.0.192.in-addr.arpa": f"9 IN PTR {ONLINE}.",
    "outbound.protection.outlook.com": f"{ONLINE.split('.')[0]} IN A 192.0.2.9",
}


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    with running_nameserver(ZONES) as dns_port:
        path = tmp_path / "filterd.toml"
        path.write_text(
            f"[server]\nstate_dir = '{tmp_path / 'state'}'\n[recipients]\naccepted_domains = ['example.org']\n"
            f"[storage]\nmin_free_bytes = 1000\n[policy]\ncontent_cap = 0\n[dns]\nservers = ['127.0.0.1:{dns_port}']\n"
            f"[[ldap]]\nname = 'ad'\nsafelists = true\n[push]\nenabled = true\n"
        )
        yield path


def ldap_lists(state: Path) -> None:
    people = [
        entry("anna@example.org", site_key=site_key(state), safe=[VARIANT.hash("joe@shop.example")]),
        entry("ben@example.org", site_key=site_key(state), blocked=[VARIANT.hash("joe@shop.example")]),
        entry("carl@example.org", site_key=site_key(state), safe=[VARIANT.hash("joe@forged.example")]),
    ]
    domains = (AcceptedDomain("example.org"),)
    put_snapshot(state / "directory" / "ldap-ad.snapshot", people, name="ad", domains=domains, sender_bytes=4)
    put_snapshot(state / "directory" / "push.snapshot", [])


def scan(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    *names: str,
    author: str,
    client: str = "192.0.2.7",
    more: str = "",
) -> dict[str, Any]:
    """The verdicts by recipient, and the evidence under "evidence"."""
    message = config.parent / "message.eml"
    message.write_text(f"From: {author}\nTo: a@example.org\nSubject: hello\n{more}\nhello\n")
    recipients = [f"{name}@example.org" for name in names]
    about = ["--client-ip", client, "--helo", ONLINE, "--mail-from", author, "--rcpt-to", *recipients]
    main(["scan", str(message), *about, "--config", str(config), "--json"])
    answer = json.loads(capsys.readouterr().out)
    return {"evidence": answer["evidence"], **{item["recipient"].split("@")[0]: item for item in answer["recipients"]}}


def said(verdict: dict[str, Any]) -> list[tuple[str, float]]:
    return [(item["text"], item["log_odds"]) for item in verdict["contributions"] if item["check"] == "senders"]


def test_exchanges_hashes_count_once_the_format_is_verified(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = config.parent / "state"
    ldap_lists(state)
    found = scan(config, capsys, "anna", "ben", author="joe@shop.example")
    assert [item for item in found["evidence"] if item["check"] == "senders"] == []
    save(state, Calibration((VARIANT,), ("00", "01"), 1, 2))
    found = scan(config, capsys, "anna", "ben", "carl", author="Joe@Shop.Example")
    assert said(found["anna"]) == [("the recipient trusts this sender: joe@shop.example", -3.0)]
    assert said(found["ben"]) == said(found["carl"]) == []
    assert (found["ben"]["action"], found["ben"]["row"], found["ben"]["scl"]) == ("tag", "blocked_sender", 5)
    assert found["ben"]["decided_by"] == "the recipient has blocked this sender"
    assert found["ben"]["nearest_change"]["text"].startswith("if the recipient did not block joe@shop.example: ")
    # trusted, but nothing stands behind the name: SPF and DMARC fail
    assert said(scan(config, capsys, "carl", author="joe@forged.example")["carl"]) == []
    path_of(state).unlink()
    assert said(scan(config, capsys, "anna", author="joe@shop.example")["anna"]) == []


def test_pushed_lists_need_no_calibration(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = config.parent / "state"
    key = site_key(state)
    trusts = entry("anna@example.org", site_key=key, safe=[address_key(key, "@shop.example")])
    domains = (AcceptedDomain("example.org"),)
    put_snapshot(state / "directory" / "ldap-ad.snapshot", [], name="ad", domains=domains)
    put_snapshot(state / "directory" / "push.snapshot", [trusts], sender_bytes=KEY_BYTES)
    found = scan(config, capsys, "anna", author="joe@shop.example")
    assert said(found["anna"]) == [("the recipient trusts this sender: joe@shop.example", -3.0)]


def test_hybrid_mail_is_recognised_by_what_dns_says(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ldap_lists(config.parent / "state")
    internal = "X-OriginatorOrg: example.org\nX-MS-Exchange-CrossPremises-AuthAs: Internal\n"
    found = scan(config, capsys, "anna", author="joe@shop.example", client="192.0.2.9", more=internal)
    assert (found["anna"]["action"], found["anna"]["row"]) == ("reject", "hybrid_mail")
    elsewhere = scan(config, capsys, "anna", author="joe@shop.example", client="192.0.2.7", more=internal)
    assert elsewhere["anna"]["row"] != "hybrid_mail"
