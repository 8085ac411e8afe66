"""The table of extensions holds everything that Exchange and Outlook block."""

from __future__ import annotations

from filterd.content.attachments.families import DECLARED, EXTENSIONS, HARMLESS
from filterd.content.attachments.finding import Kind

# Exchange Edge Transport, default attachment filter entries
EXCHANGE = """
    ade adp app asx bas bat chm cmd com cpl crt csh exe fxp hlp hta inf ins isp js jse ksh lnk mda mdb mde mdt mdw mdz msc
    msi msp mst ops pcd pif prf prg ps1 ps11 ps11xml ps1xml ps2 ps2xml psc1 psc2 reg scf scr sct shb shs url vb vbe vbs wsc
    wsf wsh xnk
"""
# Outlook's blocked list, without .tmp
OUTLOOK = """
    ade adp app application appref-ms asp aspx asx bas bat bgi cer chm cmd cnt com cpl crt csh der diagcab exe fxp gadget
    grp hlp hpj hta htc inf ins isp its jar jnlp js jse ksh lnk mad maf mag mam maq mar mas mat mau mav maw mcf mda mdb mde
    mdt mdw mdz msc msh msh1 msh2 mshxml msh1xml msh2xml msi msp mst msu ops osd pcd pif pl plg prf prg printerexport ps1
    ps1xml ps2 ps2xml psc1 psc2 psd1 psdm1 pssc cdxml pst py pyc pyo pyw pyz pyzw reg scf scr sct settingcontent-ms shb shs
    theme udl url vb vbe vbp vbs vhd vhdx vsmacros vsw webpnp website ws wsb wsc wsf wsh xbap xll xnk
"""


def test_every_extension_of_exchange_and_outlook_is_there() -> None:
    assert set(EXCHANGE.split()) <= set(EXTENSIONS)
    assert set(OUTLOOK.split()) <= set(EXTENSIONS)


def test_the_types_that_exchange_blocks_are_there() -> None:
    blocked = "application/hta application/javascript application/msaccess application/prg application/x-javascript"
    more = "application/x-msdownload message/partial text/javascript text/scriptlet x-internet-signup"
    assert {*blocked.split(), *more.split()} <= set(DECLARED)


def test_nothing_is_both_blocked_and_harmless() -> None:
    assert not set(EXTENSIONS) & HARMLESS
    assert Kind.DISGUISED not in EXTENSIONS.values()
