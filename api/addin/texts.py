"""Owns what the manifest says to people, in four languages.  What the page says stands in static/report.js.

Must not know XML.
"""

from __future__ import annotations

from dataclasses import dataclass

# Outlook takes the text of the culture that it runs in, and the English one when that culture is not named.
CULTURES = {
    "de": ("de-DE", "de-AT", "de-CH"),
    "fr": ("fr-FR", "fr-BE", "fr-CA", "fr-CH"),
    "es": ("es-ES", "es-MX"),
}


@dataclass(frozen=True, slots=True)
class Text:
    """One text; all languages have at most 125 characters, descriptions 250 (the schema's ShortString and LongString)."""

    en: str
    de: str
    fr: str
    es: str

    def of(self, language: str) -> str:
        """In one of the languages."""
        return {"en": self.en, "de": self.de, "fr": self.fr, "es": self.es}[language]


NAME = Text("Report mail", "E-Mail melden", "Signaler un message", "Notificar correo")
DESCRIPTION = Text(
    "Tells your mail filter what a message is: spam, phishing, or not spam.",
    "Sagt dem Mailfilter, was eine Nachricht ist: Spam, Phishing oder kein Spam.",
    "Indique au filtre de messagerie ce qu’est un message : spam, hameçonnage ou légitime.",
    "Indica al filtro de correo qué es un mensaje: spam, phishing o correo legítimo.",
)
GROUP = Text("Report", "Melden", "Signaler", "Notificar")

# label of a report -> (button, its tip)
BUTTONS = {
    "spam": (
        Text("Spam", "Spam", "Spam", "Spam"),
        Text(
            "Report this message as spam: advertising or a trick that nobody asked for.",
            "Diese Nachricht als Spam melden: unverlangte Werbung oder ein Trick.",
            "Signaler ce message comme spam : publicité ou piège non sollicités.",
            "Notificar este mensaje como spam: publicidad o engaño no solicitados.",
        ),
    ),
    "phish": (
        Text("Phishing", "Phishing", "Hameçonnage", "Phishing"),
        Text(
            "Report this message as phishing: it wants passwords or money and pretends to come from somebody else.",
            "Diese Nachricht als Phishing melden: Sie will Passwörter oder Geld und gibt sich als jemand anderes aus.",
            "Signaler ce message comme hameçonnage : il vise mots de passe ou argent et usurpe une identité.",
            "Notificar este mensaje como phishing: busca contraseñas o dinero y suplanta a otra persona.",
        ),
    ),
    "ham": (
        Text("Not spam", "Kein Spam", "Légitime", "No es spam"),
        Text(
            "Report that this message is wanted and was taken for spam.",
            "Melden, dass diese Nachricht erwünscht ist und zu Unrecht als Spam galt.",
            "Signaler que ce message est souhaité et a été pris pour du spam.",
            "Notificar que este mensaje es deseado y se tomó por spam.",
        ),
    ),
}
