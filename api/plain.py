"""Owns the reduction of hostile text to plain text: HTML without markup, links that nothing can follow, no tricks of display.

Linear: one pass with find() over bounded input, no regular expression that can backtrack.  Must not know mail.
"""

from __future__ import annotations

import html
import re
import unicodedata

_HIDDEN = ("script", "style", "title", "noscript", "template", "iframe", "object", "svg", "math", "textarea")
_BREAKS = frozenset(
    {"p", "br", "div", "tr", "li", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote", "hr", "pre"}
)
_TAG_NAME = re.compile(r"/?[a-zA-Z][a-zA-Z0-9:]{0,20}")
_HREF = re.compile(r"(?:href|src|action)\s{0,8}=\s{0,8}(?:\"([^\"]{0,2000})|'([^']{0,2000})|([^\s>\"']{1,2000}))", re.I)
_MAX_TARGET = 500

_COLON = re.compile(r"\s{0,2}:\s{0,2}//")
_HTTP = re.compile(r"(?i)http(?=s?\[:\]//)")
_HOST = re.compile(r"(?<=\[:\]//)[^\s/?#<>\"\[]{1,255}")
# Schemes that act without //.
_ACTING = re.compile(
    r"(?i)\b(javascript|vbscript|data|mailto|file|tel|sms|ms-[a-z]{1,20}|blob|about|cid|search-ms)\s{0,2}:"
)
_BARE = re.compile(r"(?i)\bwww\.")
_DOUBLE_SLASH = re.compile(r"(?<!\])([/\\]{2})(?=[^\s/\\])")
# Display tricks: bidirectional overrides and isolates, zero-width and other format characters, controls.
_ASCII_LOWER = {ord(char): ord(char) + 32 for char in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_KEPT_CONTROLS = frozenset("\n\t")


def visible(text: str) -> str:
    """`text` without control and format characters (bidirectional overrides, zero width), line ends as LF."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char for char in text if char in _KEPT_CONTROLS or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co")
    )


def defang(text: str) -> str:
    """`text` in which no program finds a link: https://a.example/x becomes hxxps[:]//a[.]example/x."""
    text = _HTTP.sub("hxxp", _COLON.sub("[:]//", text))
    text = _HOST.sub(lambda match: match[0].replace(".", "[.]"), text)
    text = _ACTING.sub(lambda match: f"{match[1]}[:]", text)
    text = _BARE.sub("www[.]", text)
    return _DOUBLE_SLASH.sub("[//]", text)


def html_to_text(source: str) -> str:
    """The text of an HTML document, link targets in brackets behind their text.  Not defanged yet.  Never raises."""
    lower = _lower(source)
    out: list[str] = []
    target = ""
    position = 0
    while True:
        opening = source.find("<", position)
        if opening < 0:
            out.append(source[position:])
            break
        out.append(source[position:opening])
        name = _TAG_NAME.match(source, opening + 1)
        if source.startswith("<!--", opening):
            position = _after(source, "-->", opening + 2)
            continue
        if name is None and not source.startswith(("<!", "<?", "</"), opening):
            out.append("<")  # as a browser: a sign, not a tag
            position = opening + 1
            continue
        end = _after(source, ">", opening)
        tag = name[0].lower() if name else ""
        if tag in _HIDDEN:
            # an element that is never closed hides the rest, as in a browser
            closing = lower.find(f"</{tag}", end)
            position = len(source) if closing < 0 else _after(source, ">", closing)
            continue
        if tag in ("a", "area", "form", "img", "link", "base"):
            target = _target(source[opening:end])
            if tag != "a" and target:
                out.append(f" [{tag}: {target}] ")
                target = ""
        elif tag == "/a" and target:
            out.append(f" [{target}] ")
            target = ""
        elif tag.lstrip("/") in _BREAKS:
            out.append("\n")
        elif tag.lstrip("/") in ("td", "th"):
            out.append(" ")
        position = end
    if target:
        out.append(f" [{target}]")
    return _tidy(html.unescape("".join(out)))


def _target(tag: str) -> str:
    match = _HREF.search(tag)
    if match is None:
        return ""
    value = match[1] or match[2] or match[3] or ""
    return "".join(html.unescape(value).split())[:_MAX_TARGET]


def _after(source: str, wanted: str, position: int) -> int:
    at = source.find(wanted, position)
    return len(source) if at < 0 else at + len(wanted)


def _lower(source: str) -> str:
    """Lower case of ASCII letters only, so that offsets stay the same."""
    return source.translate(_ASCII_LOWER)


def _tidy(text: str) -> str:
    """No runs of blanks, at most one empty line."""
    lines: list[str] = []
    for line in text.split("\n"):
        words = " ".join(line.split())
        if words or (lines and lines[-1]):
            lines.append(words)
    return "\n".join(lines).strip()
