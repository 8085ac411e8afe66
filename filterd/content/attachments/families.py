"""Owns the table of file name extensions and declared types by family.  Must not know what a family leads to.

Sources, by letter:
  E  Exchange Edge Transport's Attachment Filtering, the default list (OfficeDocs-Exchange attachment-filtering.md,
     Set-AttachmentFilterListConfig)
  O  Outlook's "Level 1" list as of 2019, with the ClickOnce, PowerShell and Python types that were added then
     (support.microsoft.com "Blocked attachments in Outlook")
  W  Outlook on the web, BlockedFileTypes of the default mailbox policy
  +  ours, with the reason beside it
Every name of E is in the table (a test holds it against the list); of O and W all but .tmp, .mht and .mhtml, which
ordinary programs attach and which run nothing by their name.
"""

from __future__ import annotations

from collections.abc import Mapping

from filterd.content.attachments.finding import Kind

_FAMILIES: Mapping[Kind, str] = {
    # Programs: what starts by a double click, or is loaded as code.
    Kind.EXECUTABLE: """
        app bat cmd com cpl exe fxp gadget msi msp mst msu pif prg scr vsw xap xbap xll
        jar
        application appref-ms diagcab
        dll ocx sys drv
        msix msixbundle appx appxbundle appinstaller
        apk deb rpm dmg pkg
        vsto wll
    """,  # E, O; jar O; ClickOnce O; Office add-ins +: installed or loaded by a double click; libraries +: rundll32 and side loading; app packages +: Windows 10; other systems' +
    # Scripts that Windows runs by a double click or by a host of its own.
    Kind.SCRIPT: """
        bas hta htc js jse ksh csh ps1 ps11 ps11xml ps1xml ps2 ps2xml psc1 psc2 psd1 psdm1 psm1 pssc cdxml
        msh msh1 msh2 mshxml msh1xml msh2xml
        sct vb vbe vbp vbs vsmacros ws wsc wsf wsh
        jnlp wsb
    """,  # E, O, W; psm1 + beside psdm1, which is a slip of the list
    # What points at something else and runs or opens it.
    Kind.SHORTCUT: "lnk scf shb shs xnk pcd webpnp library-ms search-ms searchconnector-ms desklink mapimail",
    # Settings, help and installers' files that Windows acts upon.
    Kind.SYSTEM: """
        asx bgi chm cnt crds grp hlp hpj inf ins isp its mcf msc ops osd plg prf printerexport reg
        theme themepack udl settingcontent-ms appcontent-ms job msrcincident rdp
    """,  # E, O, W; rdp +: signed RDP files in mail (2024) map the reader's drives
    Kind.DATABASE: "ade adp mad maf mag mam maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz accde accdr accda",
    # Source code of servers, certificates, mailbox files: Outlook hides them, mail lists and administrators send them.
    # A bookmark (url, website) is no more than a link; one that leads to a file is told by its octets (magic.Type.URL).
    Kind.UNCOMMON: "url website asp aspx pl py pyc pyo pyw pyz pyzw cer crt der pst sh",
    # Excel opens them and asks a server, or a program, for their rows (iqy: 2018; slk: macros without a macro document).
    Kind.ACTIVE: "iqy oqy rqy dqy slk",  # +
    Kind.DISK_IMAGE: "iso img vhd vhdx udf wim daa",  # vhd, vhdx O; the others +: mark-of-the-web does not pass into them
}
# .cab and .tnef, .gz and the like are looked into instead.

EXTENSIONS: Mapping[str, Kind] = {name: kind for kind, names in _FAMILIES.items() for name in names.split()}

# Declared types of E, W; message/partial hides the whole from everybody on the way.
DECLARED: Mapping[str, tuple[Kind, str]] = {
    "application/hta": (Kind.SCRIPT, "declared application/hta"),
    "application/javascript": (Kind.SCRIPT, "declared application/javascript"),
    "application/x-javascript": (Kind.SCRIPT, "declared application/x-javascript"),
    "text/javascript": (Kind.SCRIPT, "declared text/javascript"),
    "text/scriptlet": (Kind.SCRIPT, "declared text/scriptlet"),
    "application/x-msdownload": (Kind.EXECUTABLE, "declared application/x-msdownload"),
    "application/x-msdos-program": (Kind.EXECUTABLE, "declared application/x-msdos-program"),
    "application/prg": (Kind.EXECUTABLE, "declared application/prg"),
    "application/msaccess": (Kind.DATABASE, "declared application/msaccess"),
    "x-internet-signup": (Kind.SYSTEM, "declared x-internet-signup"),
    "application/x-internet-signup": (Kind.SYSTEM, "declared application/x-internet-signup"),
    "message/partial": (Kind.UNREADABLE, "one piece of a message (message/partial): the whole is never seen"),
}

# Names behind which another extension hides: what people open without a thought.
_HARMLESS = (
    "pdf doc docx xls xlsx ppt pptx rtf odt ods txt csv jpg jpeg png gif bmp tif tiff webp svg mp3 mp4 wav avi mov "
    "m4a ogg htm html xml zip rar 7z eml msg"
)
HARMLESS = frozenset(_HARMLESS.split())
# A web page behind the name of a document is the usual form of phishing by attachment.
_DOCUMENTS = "pdf doc docx xls xlsx ppt pptx rtf odt ods"
DOCUMENTS = frozenset(_DOCUMENTS.split())
PAGES = frozenset(("htm", "html", "shtml", "xhtml", "svg"))
