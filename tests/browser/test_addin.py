"""The add-in as people meet it: three buttons, one sentence, mouse and keyboard, in Outlook's frame or ribbon."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from api.addin.manifest import FUNCTIONS, manifest
from filterd.storage import reports
from tests.browser.conftest import NAME, SITE, TOO_LONG_MS, Stage
from tests.support.exchange_token import BOB, exchange, stranger
from tests.support.material import CHECKOUT

pytestmark = pytest.mark.server("chromium")

PAGE = f"{SITE}/addin/report.html"
SCRIPT = (CHECKOUT / "api" / "addin" / "static" / "report.js").read_text()
BUTTONS = {"Spam": "spam", "Phishing": "phish", "Not spam": "ham"}


expect.set_options(timeout=TOO_LONG_MS)


def says(page: Page, text: str) -> None:
    """The status is this sentence, where screen readers hear it."""
    expect(page.get_by_role("status")).to_have_text(re.compile(text))


def reported(stage: Stage) -> list[tuple[str, str, str]]:
    return [(row.label, row.reporter, row.state) for row in reversed(reports.list_reports(stage.side.database))]


def test_each_button_reports(stage: Stage) -> None:
    page = stage.open()
    for number, name in enumerate(BUTTONS):
        page.get_by_role("button", name=name, exact=True).click()
        says(page, "Thank you. Your report counts")
        assert reported(stage)[number:] == [(BUTTONS[name], "anna@example.net", "counting")]


def test_what_became_of_it_is_said(stage: Stage) -> None:
    page = stage.open()
    spam = page.get_by_role("button", name="Spam", exact=True)
    spam.click()
    says(page, "Your report counts")
    spam.click()
    says(page, "You have reported this message already")


def test_what_waits_for_a_person_is_said(stage: Stage) -> None:
    page = stage.open(address="anna@elsewhere.example")
    page.get_by_role("button", name="Spam", exact=True).click()
    says(page, "Somebody will look at your report")
    assert [state for _, _, state in reported(stage)] == ["held"]


def test_mail_that_the_filter_never_saw(stage: Stage) -> None:
    page = stage.open(message="<internal@example.net>")
    page.get_by_role("button", name="Phishing").click()
    says(page, "The filter has no record of this message")


def test_with_the_keyboard_alone(stage: Stage) -> None:
    page = stage.open()
    spam, phish, ham = (page.get_by_role("button", name=name, exact=True) for name in BUTTONS)
    expect(ham).to_have_attribute("aria-disabled", "false")
    page.keyboard.press("Tab")
    expect(spam).to_be_focused()
    page.keyboard.press("Tab")
    expect(phish).to_be_focused()
    outline = phish.evaluate("element => getComputedStyle(element).outlineWidth")
    assert int(outline.removesuffix("px")) >= 2, "who uses the keyboard must see where they are"
    page.keyboard.press("Enter")
    says(page, "Your report counts")
    expect(phish).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    says(page, "Your report counts")
    expect(ham).to_be_focused()
    assert [label for label, _, _ in reported(stage)] == ["phish", "ham"]


def test_a_second_press_waits_for_the_first(stage: Stage) -> None:
    waiting: list[Route] = []
    stage.page.route("**/addin/reports", lambda route: waiting.append(route))
    page = stage.open()
    spam, ham = (page.get_by_role("button", name=name, exact=True) for name in ("Spam", "Not spam"))
    spam.click()
    says(page, "Sending your report")
    expect(spam).to_have_attribute("aria-disabled", "true")
    ham.dispatch_event("click")
    spam.dispatch_event("click")
    assert page.evaluate("stage.calls") == 1
    expect(page.get_by_role("status")).to_have_text(re.compile("Sending"))
    _until(page, lambda: bool(waiting))
    waiting[0].continue_()
    says(page, "Your report counts")
    expect(spam).to_have_attribute("aria-disabled", "false")
    assert len(reported(stage)) == 1


def _until(page: Page, done: Callable[[], bool]) -> None:
    """Let the browser's events come in until it is so; test code and events share one thread."""
    until = time.monotonic() + TOO_LONG_MS / 1000
    while not done():
        assert time.monotonic() < until
        page.wait_for_timeout(20)


WRONG: dict[str, tuple[dict[str, Any] | None, str]] = {
    "429": ({"status": 429, "body": "{}"}, "many reports in a short time"),
    "503": ({"status": 503, "body": "{}"}, "could not be sent"),
    "500": ({"status": 500, "body": "x"}, "could not be sent"),
    "403": ({"status": 403, "body": "{}"}, "could not check who you are"),
    "a page of a proxy": ({"status": 200, "body": "<html>Sign in to the proxy</html>"}, "could not be sent"),
    "an unknown answer": ({"status": 200, "body": '{"outcome": "toString"}'}, "could not be sent"),
    "no connection": (None, "could not be sent"),
}


def test_what_goes_wrong_is_said(stage: Stage) -> None:
    answers = [answer for answer, _ in WRONG.values()]

    def refuse(route: Route) -> None:
        answer = answers.pop(0)
        route.abort() if answer is None else route.fulfill(**answer)

    stage.failing = True
    stage.page.route("**/addin/reports", refuse)
    page = stage.open()
    button = page.get_by_role("button", name="Spam", exact=True)
    for what, (_, text) in WRONG.items():
        button.click()
        expect(button, what).to_have_attribute("aria-disabled", "false")
        says(page, text)
        expect(page.get_by_role("status"), what).to_have_class("bad")
    assert answers == [], "each press asks once"


def test_a_token_that_proves_nothing(stage: Stage) -> None:
    stage.failing = True
    page = stage.open(token=stranger().token(PAGE))
    page.get_by_role("button", name="Spam", exact=True).click()
    says(page, "could not check who you are")
    assert reported(stage) == []


def test_outlook_gives_no_token(stage: Stage) -> None:
    page = stage.open(token="")
    page.get_by_role("button", name="Spam", exact=True).click()
    says(page, "could not be sent")


def test_outlook_never_answers(stage: Stage) -> None:
    stage.page.clock.install()
    page = stage.open(silent=True)
    stage.page.clock.run_for(1000)
    page.get_by_role("button", name="Spam", exact=True).click()
    says(page, "Sending")
    stage.page.clock.run_for(61_000)
    says(page, "could not be sent")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.evaluate("stage.answer()")
    page.get_by_role("button", name="Spam", exact=True).click()
    says(page, "Sending")
    assert requests == [], "what was not sent is not sent later behind the reader's back"


def test_no_message_is_open(stage: Stage) -> None:
    page = stage.open(message=None)
    page.get_by_role("button", name="Spam", exact=True).click()
    says(page, "Please open a received message first")


def test_outside_of_outlook(stage: Stage) -> None:
    stage.failing = True
    stage.page.context.route("https://appsforoffice.microsoft.com/**", lambda route: route.abort())
    page = stage.open()
    says(page, "inside Outlook only")
    button = page.get_by_role("button", name="Spam", exact=True)
    expect(button).to_have_attribute("aria-disabled", "true")
    button.dispatch_event("click")
    says(page, "inside Outlook only")
    assert reported(stage) == []


def test_outlook_does_not_answer_the_library(stage: Stage) -> None:
    stage.page.clock.install()
    page = stage.open(never=True)
    stage.page.clock.run_for(16_000)
    says(page, "inside Outlook only")


@pytest.mark.parametrize(
    ("language", "shown", "name", "thanks"),
    [
        ("de-DE", "de", "Kein Spam", "Danke. Ihre Meldung zählt"),
        ("fr-CA", "fr", "Légitime", "Merci. Votre signalement compte"),
        ("es-MX", "es", "No es spam", "Gracias. Su aviso cuenta"),
        ("ja-JP", "en", "Not spam", "Thank you. Your report counts"),
        ("constructor", "en", "Not spam", "Thank you. Your report counts"),
    ],
)
def test_in_the_language_of_outlook(stage: Stage, language: str, shown: str, name: str, thanks: str) -> None:
    page = stage.open(language=language)
    page.get_by_role("button", name=name, exact=True).click()
    says(page, thanks)
    expect(page.locator("html")).to_have_attribute("lang", shown)


def test_the_ribbon_reports_and_says_so_in_a_bar(stage: Stage) -> None:
    page = stage.open()
    for number, label in enumerate(FUNCTIONS):
        _run(page, label)
        first, last = (bar["details"] for bar in page.evaluate("stage.bars.splice(0)"))
        assert (first["type"], last["type"]) == ("progressIndicator", "informationalMessage")
        assert last["message"].startswith("Thank you. Your report counts")
        assert f'<bt:Image id="{last["icon"]}"'.encode() in manifest(SITE), "the bar's icon is one of the manifest's"
        assert reported(stage)[number:] == [(label, "anna@example.net", "counting")]


def _run(page: Page, label: str) -> None:
    """Press the ribbon's button, and wait until the add-in says that it has done."""
    page.evaluate("stage.completed = 0")
    page.evaluate(
        """name => new Promise(resolve => {
        window[name]({completed: () => { stage.completed += 1; resolve(); }});
    })""",
        FUNCTIONS[label],
    )
    assert page.evaluate("stage.completed") == 1, "Outlook waits for exactly one"


def test_the_ribbon_says_what_went_wrong(stage: Stage) -> None:
    stage.failing = True
    page = stage.open(token=stranger().token(PAGE), language="fr-FR")
    _run(page, "spam")
    bar = page.evaluate("stage.bars")[-1]["details"]
    assert bar["type"] == "errorMessage"
    assert "administrateur" in bar["message"]


def test_an_outlook_without_bars_reports_too(stage: Stage) -> None:
    page = stage.open(noBars=True)
    _run(page, "ham")
    assert [label for label, _, _ in reported(stage)] == ["ham"]


def test_an_outlook_that_never_says_that_the_bar_is_there_reports_too(stage: Stage) -> None:
    stage.page.clock.install()
    page = stage.open(mute=True)
    page.evaluate("reportHam({completed: () => { stage.completed += 1; }})")
    assert reported(stage) == []
    page.clock.run_for(5_100)  # the first bar is given up; what follows comes when the side service answers
    _until(page, lambda: bool(reported(stage)))
    _until(page, lambda: bool(page.evaluate("stage.bars.length === 2")))
    page.clock.run_for(5_100)
    assert page.evaluate("stage.completed") == 1
    assert [label for label, _, _ in reported(stage)] == ["ham"]


def test_every_sentence_fits_into_a_bar() -> None:
    sentences = re.findall(r'"((?:[^"\\]|\\.)*)"', SCRIPT[SCRIPT.index("var TEXTS") : SCRIPT.index("var GOOD")])
    assert len(sentences) == 4 * 17
    assert max(map(len, sentences)) <= 150


def test_internet_explorer_can_read_the_script() -> None:
    code = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:[^\"\\]|\\.)*\"", "", SCRIPT, flags=re.DOTALL)
    for newer in (
        "=>",
        "`",
        "let ",
        "const ",
        "class ",
        "fetch(",
        "Promise",
        "async ",
        "await ",
        "...",
        "?.",
        "??",
        ".includes(",
    ):
        assert newer not in code, newer


def test_in_a_frame_of_web_mail_over_https(stage: Stage) -> None:
    frame = f'<!doctype html><title>mail</title><iframe width="600" height="280" src="{PAGE}"></iframe>'
    stage.page.context.route(
        "https://mail.example.net/owa/", lambda route: route.fulfill(body=frame, content_type="text/html")
    )
    # A site that is not on this machine needs leave to show one that is; in production both are on the same network.
    stage.page.context.grant_permissions(["local-network-access"], origin="https://mail.example.net")
    page = stage.open("https://mail.example.net/owa/")
    inner = page.frame_locator("iframe")
    inner.get_by_role("button", name="Spam", exact=True).click()
    expect(inner.get_by_role("status")).to_have_text(re.compile("Your report counts"))


def test_no_other_script_runs(stage: Stage) -> None:
    page = stage.open()
    page.evaluate(
        """() => {
        const inline = document.createElement('script');
        inline.textContent = 'window.bad = 1';
        document.body.append(inline);
        const foreign = document.createElement('script');
        foreign.src = 'https://attacker.example/x.js';
        document.body.append(foreign);
    }"""
    )
    page.get_by_role("button", name="Spam", exact=True).click()
    says(page, "Your report counts")
    assert page.evaluate("window.bad") is None
    _until(page, lambda: len(stage.faults) >= 2)
    assert len(stage.faults) == 2
    assert all("Content Security Policy" in fault for fault in stage.faults)
    stage.faults.clear()


def test_two_people_on_one_message(stage: Stage) -> None:
    page = stage.open()
    page.get_by_role("button", name="Spam", exact=True).click()
    says(page, "Your report counts")
    page = stage.open(token=exchange().token(PAGE, BOB), address="bob@example.net", message=NAME)
    page.get_by_role("button", name="Phishing").click()
    says(page, "Your report counts")
    assert [who for _, who, _ in reported(stage)] == ["anna@example.net", "bob@example.net"]


def test_it_fits_and_can_be_read(stage: Stage) -> None:
    page = stage.open(language="fr-FR")
    page.get_by_role("button", name="Légitime").click()
    says(page, "Merci")
    for width in (320, 640):
        page.set_viewport_size({"width": width, "height": 450})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for button in page.get_by_role("button").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 44, "fingers"
    for selector in ("h1", ".name", ".tip", "#status"):
        assert _contrast(page, selector) >= 4.5, selector  # WCAG 2.2, 1.4.3


def _contrast(page: Page, selector: str) -> float:
    """WCAG 2.2: contrast of a text with what lies behind it."""
    colours = page.locator(selector).first.evaluate(
        """element => {
        const opaque = style => !/, 0\\)$|transparent/.test(style.backgroundColor);
        let behind = element;
        while (behind.parentElement && !opaque(getComputedStyle(behind))) behind = behind.parentElement;
        return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
    }"""
    )
    light, dark = sorted((_luminance(colour) for colour in colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
