"""Owns the add-in's manifest, which Exchange gives to every Outlook.  Microsoft's schemas MailApp 1.1 and VersionOverrides 1.0.

The order of elements is the schema's, and counts.  What is asked for is what Exchange 2016 and 2019 have: Mailbox 1.1 for the page,
1.3 for the buttons.  Must not know HTTP.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from functools import cache
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

from api.addin.texts import BUTTONS, CULTURES, DESCRIPTION, GROUP, NAME, Text

VERSION = "1.0.0.0"  # raise it with every change: Exchange takes a manifest over an older one only
FUNCTIONS = {"spam": "reportSpam", "phish": "reportPhish", "ham": "reportHam"}  # in static/report.js
BUTTON_SIZES = (16, 32, 80)  # all three are demanded
APP_SIZES = (64, 128)  # IconUrl, HighResolutionIconUrl
HEIGHT = 300  # pixels of the page where Outlook shows no buttons; the schema allows 32 to 450
_LONG = {"description": DESCRIPTION, **{f"{name}-tip": tip for name, (_, tip) in BUTTONS.items()}}
_SHORT = {"group": GROUP, **{f"{name}-label": label for name, (label, _) in BUTTONS.items()}}


def base_of(public_url: str) -> str:
    """Where the add-in's files lie, in the one form that nobody on the way writes otherwise: host in lower case, no port 443.

    Exchange writes the page's address into tokens, and we compare it octet by octet.
    """
    parts = urlsplit(public_url)
    return f"https://{parts.netloc.lower().removesuffix(':443')}{parts.path.rstrip('/')}/addin"


def page_of(public_url: str) -> str:
    """The page: the first SourceLocation, and so the audience that Exchange writes into identity tokens."""
    return base_of(public_url) + "/report.html"


def identity_of(public_url: str) -> uuid.UUID:
    """The add-in's id: the same for the same address, another one for every other site."""
    return uuid.uuid5(uuid.NAMESPACE_URL, page_of(public_url))


@cache
def manifest(public_url: str) -> bytes:
    """The manifest as UTF-8."""
    base, page = base_of(public_url), quoteattr(page_of(public_url))
    app = [quoteattr(f"{base}/app-{size}.png") for size in APP_SIZES]
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<OfficeApp xmlns="http://schemas.microsoft.com/office/appforoffice/1.1" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xmlns:bt="http://schemas.microsoft.com/office/officeappbasictypes/1.0" xsi:type="MailApp">
  <Id>{identity_of(public_url)}</Id>
  <Version>{VERSION}</Version>
  <ProviderName>filterd</ProviderName>
  <DefaultLocale>en-US</DefaultLocale>
  {_localized("DisplayName", NAME)}
  {_localized("Description", DESCRIPTION)}
  <IconUrl DefaultValue={app[0]}/>
  <HighResolutionIconUrl DefaultValue={app[1]}/>
  <Hosts><Host Name="Mailbox"/></Hosts>
  <Requirements><Sets><Set Name="Mailbox" MinVersion="1.1"/></Sets></Requirements>
  <FormSettings>
    <Form xsi:type="ItemRead">
      <DesktopSettings><SourceLocation DefaultValue={page}/><RequestedHeight>{HEIGHT}</RequestedHeight></DesktopSettings>
      <TabletSettings><SourceLocation DefaultValue={page}/><RequestedHeight>{HEIGHT}</RequestedHeight></TabletSettings>
    </Form>
  </FormSettings>
  <Permissions>ReadItem</Permissions>
  <Rule xsi:type="ItemIs" ItemType="Message" FormType="Read"/>
  <DisableEntityHighlighting>true</DisableEntityHighlighting>
  <VersionOverrides xmlns="http://schemas.microsoft.com/office/mailappversionoverrides" xsi:type="VersionOverridesV1_0">
    <Description resid="description"/>
    <Requirements><bt:Sets DefaultMinVersion="1.3"><bt:Set Name="Mailbox"/></bt:Sets></Requirements>
    <Hosts>
      <Host xsi:type="MailHost">
        <DesktopFormFactor>
          <FunctionFile resid="page"/>
          <ExtensionPoint xsi:type="MessageReadCommandSurface">
            <OfficeTab id="TabDefault">
              <Group id="report-group">
                <Label resid="group"/>
{_lines(_button(name) for name in BUTTONS)}
              </Group>
            </OfficeTab>
          </ExtensionPoint>
        </DesktopFormFactor>
      </Host>
    </Hosts>
    <Resources>
      <bt:Images>
{_lines(_image(base, name, size) for name in BUTTONS for size in BUTTON_SIZES)}
      </bt:Images>
      <bt:Urls><bt:Url id="page" DefaultValue={page}/></bt:Urls>
      <bt:ShortStrings>
{_lines(_localized("bt:String", text, f' id="{id}"') for id, text in _SHORT.items())}
      </bt:ShortStrings>
      <bt:LongStrings>
{_lines(_localized("bt:String", text, f' id="{id}"') for id, text in _LONG.items())}
      </bt:LongStrings>
    </Resources>
  </VersionOverrides>
</OfficeApp>
""".encode()


def _lines(elements: Iterable[str]) -> str:
    return "\n".join("        " + element for element in elements)


def _localized(element: str, text: Text, attributes: str = "") -> str:
    inner = "bt:Override" if element.startswith("bt:") else "Override"
    others = "".join(
        f"<{inner} Locale={quoteattr(culture)} Value={quoteattr(text.of(language))}/>"
        for language, cultures in CULTURES.items()
        for culture in cultures
    )
    return f"<{element}{attributes} DefaultValue={quoteattr(text.en)}>{others}</{element}>"


def _image(base: str, name: str, size: int) -> str:
    return f'<bt:Image id="{name}-{size}" DefaultValue={quoteattr(f"{base}/{name}-{size}.png")}/>'


def _button(name: str) -> str:
    images = "".join(f'<bt:Image size="{size}" resid="{name}-{size}"/>' for size in BUTTON_SIZES)
    return (
        f'<Control xsi:type="Button" id="report-{name}"><Label resid="{name}-label"/>'
        f'<Supertip><Title resid="{name}-label"/><Description resid="{name}-tip"/></Supertip><Icon>{images}</Icon>'
        f'<Action xsi:type="ExecuteFunction"><FunctionName>{FUNCTIONS[name]}</FunctionName></Action></Control>'
    )
