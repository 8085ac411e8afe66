"""`filterd check-config` looks at the files that a configuration names."""

from __future__ import annotations

from pathlib import Path

import argon2
import pytest

from filterd.adapters.site_key import site_key
from filterd.cli import main
from tests.support.directory import put_hashed
from tests.support.exchange_token import exchange

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def check(folder: Path, auth: str) -> int:
    path = folder / "filterd.toml"
    path.write_text(f"[recipients]\naccepted_domains = ['example.org']\n[auth]\n{auth}\n")
    return main(["check-config", "--config", str(path)])


def test_a_good_password_file_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accounts = tmp_path / "accounts"
    accounts.write_text(f"anna:{CHEAP.hash('secret')}\n")
    accounts.chmod(0o640)
    assert check(tmp_path, "file = 'accounts'") == 0
    shown = capsys.readouterr().out
    assert "auth.file: 1 accounts" in shown
    assert "warning" not in shown


def test_a_password_file_for_all_to_read_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accounts = tmp_path / "accounts"
    accounts.write_text("")
    accounts.chmod(0o644)
    assert check(tmp_path, "file = 'accounts'") == 0
    assert f"chmod o-r {accounts}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("auth", "named"),
    [
        ("file = 'none'", "auth.file: "),
        ("file = 'broken'", "broken:2: expected user:hash, there is no colon"),
        ("file = 'broken'\nldap_url = 'ldaps://127.0.0.1'", "auth: expected file or ldap_url, not both"),
        ("ldap_url = 'ldaps://127.0.0.1'\nldap_user = 'anna'", "auth.ldap_user: expected {user}"),
        ("ldap_url = 'ldaps://127.0.0.1'\nldap_ca_file = 'none'", "auth.ldap_ca_file: "),
    ],
)
def test_accounts_that_cannot_be_used_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], auth: str, named: str
) -> None:
    (tmp_path / "broken").write_text("# people\nanna\n")
    assert check(tmp_path, auth) == 2
    assert named in capsys.readouterr().err


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listener = "[[listeners]]\ntls_certificate = 'none.pem'\ntls_key = 'none.pem'"
    assert check(tmp_path, listener) == 2
    assert "listeners (internet): tls_certificate and tls_key: expected a PEM chain" in capsys.readouterr().err


def test_inner_arrays_stand_behind_their_table_in_sample_and_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["print-config"]) == 0
    sample = capsys.readouterr().out
    assert sample.index("\n[url_lists]\n") < sample.index("\n# [[url_lists.zones]]\n") < sample.index("\n[lists]\n")
    assert "\nzones = " not in sample
    assert "\npeople = " not in sample
    assert main(["print-config", "--format", "markdown"]) == 0
    assert "## `[[impersonation.people]]`" in capsys.readouterr().out


def test_the_certificate_of_the_addin_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "filterd.toml"
    reports = "public_url = 'https://filter.example.org'\nexchange_certificate = 'exchange.pem'\n"
    path.write_text(f"[recipients]\naccepted_domains = ['example.org']\n[reports]\n{reports}")
    assert main(["check-config", "--config", str(path)]) != 0
    assert f"reports.exchange_certificate: {tmp_path / 'exchange.pem'} cannot be read" in capsys.readouterr().err
    exchange().write(tmp_path)
    assert main(["check-config", "--config", str(path)]) == 0
    assert "reports.exchange_certificate: 1 keys" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tables", "warned"),
    [
        ("", True),
        ("[recipients]\nexternal_relay_domains = ['partner.example']\n", False),
        ("[push]\nenabled = true\n", False),
        ("[[ldap]]\n", False),
        ("[[ldap]]\nread_domains = false\n", True),
    ],
)
def test_no_accepted_domain_is_warned_of_where_none_can_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tables: str, warned: bool
) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text(f"[server]\nstate_dir = 'state'\n{tables}")
    assert main(["check-config", "--config", str(path)]) == 0
    assert ("accepted_domains is empty" in capsys.readouterr().out) == warned


def test_a_hashed_list_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text(
        "[server]\nstate_dir = 'state'\n[recipients]\naccepted_domains = ['example.org']\nhashed_file = 'h'\n"
    )
    command = ["check-config", "--config", str(path)]
    assert main(command) == 2
    assert "there is no site key" in capsys.readouterr().err
    site_key(tmp_path / "state")
    assert main(command) == 2
    assert f"recipients.hashed_file: {tmp_path / 'h'}: No such file" in capsys.readouterr().err
    put_hashed(tmp_path / "h", ["anna@example.org"], bytes(32))
    assert main(command) == 2
    assert "made with the site key" in capsys.readouterr().err
    put_hashed(tmp_path / "h", ["anna@example.org"], site_key(tmp_path / "state"))
    assert main(command) == 0
    assert "recipients.hashed_file: 1 addresses" in capsys.readouterr().out


def test_report_addresses_that_nobody_can_reach_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = "[reports]\ndomain = 'reports.example.org'\n"
    assert check(tmp_path, "[[listeners]]\n" + reports) == 0
    assert "no listener takes mail to spam@reports.example.org" in capsys.readouterr().out
    assert check(tmp_path, "[[listeners]]\ntrust = 'report'\n" + reports) == 0
    assert "no listener" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("listener", "warned"),
    [
        ("address = '192.0.2.25'", True),
        ("address = '0.0.0.0'", True),
        ("address = '::'", True),
        ("address = '192.0.2.25'\nsources = ['192.0.2.10']", False),
        ("address = '127.0.0.1'", False),
    ],
)
def test_a_listener_on_which_anybody_reports_in_anybodys_name_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listener: str, warned: bool
) -> None:
    reports = "[reports]\ndomain = 'reports.example.org'\n"
    assert check(tmp_path, f"[[listeners]]\nname = 'reports'\ntrust = 'report'\n{listener}\n" + reports) == 0
    assert ("listeners.reports.sources is empty" in capsys.readouterr().out) == warned


@pytest.mark.parametrize("address", ["nobody", "ä@example.org"])
def test_an_author_of_answers_that_is_none_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    assert check(tmp_path, f"[reports]\nanswer_from = '{address}'") == 2
    assert "reports.answer_from: expected user@domain in ASCII" in capsys.readouterr().err


def test_files_of_a_directory_that_cannot_be_read_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """filterd starts all the same, so it is no error."""
    path = tmp_path / "filterd.toml"
    path.write_text("[[ldap]]\nuser = 'f@example.org'\npassword_file = 'gone'\nca_file = 'ca.pem'\n")
    (tmp_path / "ca.pem").write_text("nonsense")
    assert main(["check-config", "--config", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"warning: ldap (ad): ca_file: {tmp_path}/ca.pem: expected certificates in PEM" in out
    assert f"warning: ldap (ad): password_file: {tmp_path}/gone: cannot be read" in out


def test_every_file_that_cannot_be_used_is_named_not_only_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text(
        "[recipients]\nfile = 'gone'\n[outbound]\ntls_ca_file = 'ca'\nhost = 'x'\n[[outbound.dkim]]\nkey_file = 'k'\n"
    )
    assert main(["check-config", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert [key for key in ("recipients.file", "outbound.tls_ca_file", "outbound.dkim[0].key_file") if key in said] == [
        "recipients.file",
        "outbound.tls_ca_file",
        "outbound.dkim[0].key_file",
    ]


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("postgresql://filterd:geheim@db.example.org/filterd", 0),
        ("postgresql://filterd:geheim@db.example.org:5432/filterd", 0),
        ("postgresql://filterd:geheim@db.example.org:port/filterd", 2),
        ("nonsense", 2),
    ],
)
def test_the_url_of_the_database_is_looked_at(
    url: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, f"[storage]\nurl = '{url}'") == status
    shown = capsys.readouterr()
    assert ("storage.url: expected a URL such as postgresql://" in shown.err) == bool(status)
    assert "geheim" not in shown.out + shown.err
