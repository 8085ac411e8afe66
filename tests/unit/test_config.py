"""A broken configuration names the key, what was expected and what stands there; nothing else happens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from filterd.commands.configuration import _tables, reference, sample
from filterd.config import ACTIVE_CONFIG, Config, load_active, load_config, parse_config
from filterd.config.explain import PATTERNS
from filterd.errors import ConfigError
from tests.support.material import CHECKOUT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\nworkers = 'two'", "server.workers: expected a whole number, found 'two'"),
        ("[server]\nstate_dir = 5", "server.state_dir: expected the path of a file or folder in quotes, found 5"),
        ("[callahead]\ndomains = 'a.example'", 'callahead.domains: expected a list such as ["one", "two"], found'),
        ("[push]\nenabled = 'yes'", "push.enabled: expected true or false, found 'yes'"),
        ("[push]\nmax_drop_percent = 'x'", "push.max_drop_percent: expected a number, found 'x'"),
        ("[upstream]\nhost = 5", "upstream.host: expected text in quotes, found 5"),
        ("[upstream]\nhost = 'ex01:25'", "upstream.host: expected a name or an address such as ex01.example.org"),
        ("[callahead]\nhost = 'smtp://ex01'", "callahead.host: expected a name or an address"),
        ("[outbound]\nhost = '[::1]'", "outbound.host: expected a name or an address"),
        ("[[ldap]]\nurls = []", "ldap[0].urls: expected at least one"),
        ("[[ldap]]\nname = 'My AD'", "ldap[0].name: expected a short name of small letters, digits"),
        ("[outbound]\ndkim = ['x']", "outbound.dkim[0]: expected a table of its own"),
        ("[server]\nwrokers = 2", "server.wrokers: unknown key"),
        ("[server]\nhostname = 'fílter.example.org'", "server.hostname: expected a name in ASCII"),
        ("[server]\nauthserv_id = 'My Filter'", "server.authserv_id: expected a domain name"),
        ("[server]\nauthserv_id = 'fílter.example.org'", "server.authserv_id: expected a name in ASCII"),
        ("[arc]\ntrusted_sealers = ['lísts.example']", "arc.trusted_sealers[0]: expected a name in ASCII"),
        ("[sever]\n", "sever: unknown key"),
        ("[[dnsbl]]\nzone = 'a b'", "dnsbl[0].zone: expected a domain name such as mail.example.org, found 'a b'"),
        ("[[dnsbl]]\n", "dnsbl[0].zone: field required"),
        ("[[listeners]]\n[[listeners]]\nport = 26", "listeners (internet): name: expected a name of its own"),
        ("[[listeners]]\ntls = 'required'", "listeners[0]: tls = required needs tls_certificate and tls_key"),
        ("[[listeners]]\ntls_key = 'k'", "listeners[0]: tls_certificate and tls_key must be given together"),
        ("[[listeners]]\nauth = true", "listeners[0]: auth needs TLS"),
        (
            "[[listeners]]\ntls_certificate = 'c'\ntls_key = 'k'\nauth = true",
            "auth: expected auth.file or auth.ldap_url",
        ),
        ("[[listeners]]\ntrust = 'authenticated'", "trust = authenticated needs auth = true"),
        (
            "[[listeners]]\nlimits = { connections = 5 }",
            "limits.connections: expected a key of [limits] that a listener",
        ),
        (
            "[[listeners]]\nlimits = { recipients = 0 }",
            "listeners (internet): limits.recipients: Input should be greater",
        ),
        ("[[listeners]]\n[[listeners]]\nname = 'b'", "listeners (b): sources: expected others than those of internet"),
        ("[[listeners]]\nsources = ['10.0.0.0/33']", "listeners[0].sources[0]: expected an address or a network"),
        ("[lists]\nblock = ['300.1.1.1']", "lists.block[0]: expected an address, a network such as"),
        ("[policy]\ntag_score = 9.0", "policy: expected tag_score < quarantine_score < reject_score"),
        ("[limits]\nidle_seconds = 0", "limits.idle_seconds: input should be greater than 0, found 0"),
        ("[[listeners]]\ntls_key = 'a'", "listeners[0]: tls_certificate and tls_key must be given together"),
        (
            "[dns]\nservers = ['127.0.0.1', 'ns.example']",
            "dns.servers[1]: expected an address, address:port or [v6]:port",
        ),
        ("x = ", "not valid TOML"),
    ],
)
def test_the_error_names_key_and_remedy(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert any(expected in problem and str(path) in problem for problem in caught.value.problems), caught.value.problems


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"server": {"a": 1, "b": 2}, "limits": {"recipients": 0}}, tmp_path)
    assert len(caught.value.problems) == 3


def test_relative_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text("[recipients]\nfile = 'recipients.txt'\n")
    config = load_config(path)
    assert config.recipients.file == tmp_path / "recipients.txt"
    assert config.state_dir == tmp_path / "state"


def test_the_generated_sample_is_the_default_configuration(tmp_path: Path) -> None:
    path = tmp_path / "filterd.toml"
    path.write_text(sample())
    assert load_config(path) == parse_config({}, tmp_path)
    assert isinstance(load_config(path), Config)


def test_the_supervisors_copy_is_the_same_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {
        "dnsbl": [{"zone": "bl.example"}],
        "recipients": {"file": "r"},
        "listeners": [{"port": 25}, {"name": "other", "port": 26, "limits": {"recipients": 5}}],
    }
    config = parse_config(tables, tmp_path)
    (tmp_path / "copy.json").write_text(config.model_dump_json())
    monkeypatch.setenv(ACTIVE_CONFIG, str(tmp_path / "copy.json"))
    assert load_active(tmp_path / "not-there.toml") == config
    (tmp_path / "copy.json").write_text("{")
    with pytest.raises(ConfigError, match="supervisor's copy"):
        load_active(tmp_path / "not-there.toml")


def test_the_sample_file_is_generated() -> None:
    page = (CHECKOUT / "deploy" / "filterd.sample.toml").read_text()
    assert page == sample(), "run: .venv/bin/filterd print-config > deploy/filterd.sample.toml"


def test_the_reference_page_is_generated() -> None:
    page = (CHECKOUT / "docs" / "configuration.md").read_text()
    assert page == reference(), "run: .venv/bin/filterd print-config --format markdown > docs/configuration.md"


@pytest.mark.parametrize(
    "host", ["", "ex01", "ex_01.corp", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "größe.example"]
)
def test_any_host_that_may_exist_is_taken(tmp_path: Path, host: str) -> None:
    tables = {"upstream": {"host": host}, "callahead": {"host": host}, "outbound": {"host": host}}
    assert parse_config(tables, tmp_path).callahead.host == host


def patterns(annotation: object, metadata: Iterable[object]) -> Iterator[str]:
    for item in metadata:
        for part in getattr(item, "metadata", None) or [item]:
            if getattr(part, "pattern", None):
                yield str(part.pattern)
    for inner in get_args(annotation):
        yield from patterns(inner, getattr(inner, "__metadata__", ()))


def test_every_pattern_of_a_key_is_said_in_words() -> None:
    tables = (table for _, _, table in _tables())
    keys = (info for table in tables for info in table.model_fields.values())
    found = {pattern for info in keys for pattern in patterns(info.annotation, info.metadata)}
    assert found
    assert found <= set(PATTERNS)
