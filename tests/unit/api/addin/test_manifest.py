"""The manifest obeys the rules of Microsoft's schemas that decide whether Exchange and Outlook take it."""

from __future__ import annotations

import re
import struct
import uuid

import pytest
from lxml import etree

from api.addin.icons import icon
from api.addin.manifest import APP_SIZES, BUTTON_SIZES, FUNCTIONS, identity_of, manifest, page_of
from api.routers.addin import FILES
from filterd.storage.reports import Label

SITE = "https://filter.example.org"
APP = "{http://schemas.microsoft.com/office/appforoffice/1.1}"
MAIL = "{http://schemas.microsoft.com/office/mailappversionoverrides}"
BASIC = "{http://schemas.microsoft.com/office/officeappbasictypes/1.0}"
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

# xs:sequence of OfficeAppManifestV1_1.xsd (OfficeApp, extended by MailApp) and MailAppVersionOverridesV1_0.xsd.
ORDER = {
    f"{APP}OfficeApp": [
        *("Id", "AlternateId", "Version", "ProviderName", "DefaultLocale", "DisplayName", "Description", "IconUrl"),
        *("HighResolutionIconUrl", "SupportUrl", "AppDomains", "Hosts", "Requirements", "FormSettings", "Permissions"),
        *("Rule", "DisableEntityHighlighting", "VersionOverrides"),
    ],
    f"{APP}Form": ["DesktopSettings", "TabletSettings", "PhoneSettings"],
    f"{APP}DesktopSettings": ["SourceLocation", "RequestedHeight"],
    f"{APP}TabletSettings": ["SourceLocation", "RequestedHeight"],
    f"{MAIL}VersionOverrides": ["Description", "Requirements", "Hosts", "Resources", "VersionOverrides"],
    f"{MAIL}DesktopFormFactor": ["FunctionFile", "ExtensionPoint"],
    f"{MAIL}Group": ["Label", "Control"],
    f"{MAIL}Control": ["Label", "Supertip", "Icon", "Action"],
    f"{MAIL}Supertip": ["Title", "Description"],
    f"{MAIL}Resources": ["Images", "Urls", "ShortStrings", "LongStrings"],
}


def tree(site: str = SITE) -> etree._Element:
    return etree.fromstring(manifest(site))


def local(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def test_elements_stand_in_the_order_of_the_schema() -> None:
    seen = set()
    for element in tree().iter(tag=etree.Element):
        order = ORDER.get(element.tag)
        if order is None:
            continue
        seen.add(element.tag)
        places = [order.index(local(child)) for child in element]
        assert places == sorted(places), local(element)
        if local(element) != "Group":
            assert len(set(places)) == len(places), local(element)
    assert seen == set(ORDER)


def test_what_must_be_there_is_there() -> None:
    root = tree()
    assert root.get(TYPE) == "MailApp"
    assert uuid.UUID(root.findtext(f"{APP}Id"))
    assert re.fullmatch(r"\d{1,5}(\.\d{1,5}){3}", root.findtext(f"{APP}Version") or "")
    assert root.findtext(f"{APP}Permissions") == "ReadItem", "the least that gives a Message-ID and a token"
    assert 32 <= int(root.findtext(f".//{APP}RequestedHeight") or 0) <= 450
    overrides = root.find(f"{MAIL}VersionOverrides")
    assert overrides is not None
    assert overrides.get(TYPE) == "VersionOverridesV1_0"


def test_no_more_is_asked_for_than_exchange_on_premises_has() -> None:
    versions = [element.get("MinVersion") for element in tree().iter(f"{APP}Set")]
    versions += [element.get("DefaultMinVersion") for element in tree().iter(f"{BASIC}Sets")]
    assert versions == ["1.1", "1.3"]


def test_lengths_and_addresses() -> None:
    for element in tree().iter(tag=etree.Element):
        value = element.get("DefaultValue")
        for text in [value] if value else []:
            assert len(text) <= 2048
        for name in ("id", "resid"):
            assert len(element.get(name, "x")) <= 32
    for name, most in (("DisplayName", 125), ("Description", 250)):
        _texts_fit(tree().find(f"{APP}{name}"), most)
    for name, most in (("ShortStrings", 125), ("LongStrings", 250)):
        for string in tree().find(f".//{BASIC}{name}"):
            _texts_fit(string, most)
    urls = re.findall(r'"(https?://[^"]+)"', manifest(SITE).decode())
    ours = [url for url in urls if "schemas.microsoft.com" not in url and "www.w3.org" not in url]
    assert all(url.startswith(f"{SITE}/addin/") for url in ours)
    assert {url.removeprefix(f"{SITE}/addin/") for url in ours} <= set(FILES), "every address of the manifest is served"


def _texts_fit(element: etree._Element, most: int) -> None:
    texts = [element.get("DefaultValue"), *(child.get("Value") for child in element)]
    assert len(texts) == 10, "English, and three languages with their cultures"
    assert all(text and len(text) <= most for text in texts)


def test_every_resource_is_there_and_used() -> None:
    resources = [element.get("id") for element in tree().find(f".//{MAIL}Resources").iter() if element.get("id")]
    used = {element.get("resid") for element in tree().iter() if element.get("resid")}
    assert len(resources) == len(set(resources))
    assert set(resources) == used


def test_three_buttons_in_read_mode() -> None:
    point = tree().find(f".//{MAIL}ExtensionPoint")
    assert point.get(TYPE) == "MessageReadCommandSurface"
    controls = point.findall(f".//{MAIL}Control")
    assert [control.get("id") for control in controls] == ["report-spam", "report-phish", "report-ham"]
    assert [control.findtext(f".//{MAIL}FunctionName") for control in controls] == list(FUNCTIONS.values())
    for control in controls:
        assert control.find(f"{MAIL}Action").get(TYPE) == "ExecuteFunction"
        assert [int(image.get("size")) for image in control.iter(f"{BASIC}Image")] == [16, 32, 80]
    assert set(FUNCTIONS) == set(Label)


def test_the_id_belongs_to_the_address() -> None:
    assert identity_of(SITE) == identity_of(SITE + "/")
    assert manifest(SITE + "/") == manifest(SITE)
    assert identity_of(SITE) != identity_of("https://other.example.org")
    assert str(identity_of(SITE)) == "febf8899-cdd4-505f-8801-3e437efe30b0", "or Exchange would have it twice"


def test_an_address_in_another_spelling_is_the_same_addin() -> None:
    assert page_of("https://Filter.Example.ORG:443/") == page_of(SITE)
    assert manifest("https://Filter.Example.ORG:443/") == manifest(SITE)
    assert page_of("https://filter.example.org:4430") != page_of(SITE)
    assert page_of("https://filter.example.org/Way") == "https://filter.example.org/Way/addin/report.html"


def test_a_path_in_front() -> None:
    assert page_of("https://www.example.org/filter/") == "https://www.example.org/filter/addin/report.html"
    assert b'"https://www.example.org/filter/addin/report.html"' in manifest("https://www.example.org/filter/")


@pytest.mark.parametrize(
    ("name", "size"), [(n, s) for n in FUNCTIONS for s in BUTTON_SIZES] + [("app", s) for s in APP_SIZES]
)
def test_icons_have_their_size(name: str, size: int) -> None:
    octets = icon(name, size)
    assert octets.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", octets[16:24]) == (size, size)
    assert len(octets) < 4000
