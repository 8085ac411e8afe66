"""What programs forget when they pretend to be others."""

from __future__ import annotations

import pytest

from tests.unit.content.shape.test_shape import facts

V1 = "MIME-Version: 1.0\r\n"


@pytest.mark.parametrize(
    ("header", "prefix", "expected"),
    [
        (V1 + "Content-Type: text/plain; charset=utf-8\r\n", "mime-", set()),
        ("Content-Type: text/plain; charset=utf-8\r\n", "mime-", {"mime-version-missing"}),
        (V1, "mime-", {"mime-type-missing"}),
        ("Subject: x\r\n", "mime-", {"mime-none"}),
        (V1 + "Content-Type: text/html; charset=utf-8\r\n", "mime-", {"mime-html-alone"}),
        (V1 + "Content-Type: text/plain\r\n", "mime-", {"mime-no-charset"}),
        (V1 + "Content-Type: multipart/mixed\r\n", "mime-", {"mime-no-boundary"}),
        (V1 + V1 + "Content-Type: multipart/mixed; boundary=x\r\n", "mime-", {"mime-twice"}),
        (
            V1 + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n",
            "mime-",
            {"mime-text-in-base64"},
        ),
        ("Subject: x\r\n", "mailer-", {"mailer-none"}),
        ("X-MimeOLE: x\r\n", "mailer-", {"mailer-none", "mailer-mimeole-alone"}),
        ("X-Mailer: Apple Mail (2.3)\r\n", "mailer-", set()),
        ("X-Mailer:\r\n", "mailer-", {"mailer-empty"}),
        ("X-Mailer: Foo\r\n", "mailer-", {"mailer-no-version"}),
        ("X-Mailer: PHPMailer 5.2\r\n", "mailer-", {"mailer-script"}),
        ("X-Mailer: a 1\r\nUser-Agent: b\r\n", "mailer-", {"mailer-two"}),
        ("X-Mailer: Microsoft Outlook Express 6.00\r\nX-MimeOLE: x\r\n", "mailer-", set()),
        ("X-Mailer: Microsoft Outlook Express 6.00\r\n", "mailer-", {"mailer-outlook-express-without-mimeole"}),
        (V1 + "X-Mailer: Microsoft Outlook 16.0\r\nThread-Index: x\r\n", "mailer-", set()),
        (V1 + "X-Mailer: Microsoft Outlook 16.0\r\n", "mailer-", {"mailer-outlook-without-its-fields"}),
        ("X-Mailer: Microsoft Outlook 16.0\r\nThread-Index: x\r\n", "mailer-", {"mailer-outlook-without-mime"}),
        (
            "X-Mailer: a 1\r\nX-MSMail-Priority: High\r\n",
            "mailer-",
            {"mailer-msmail-priority-alone"},
        ),
        ("X-Priority: 1 (Highest)\r\n", "priority-", {"priority-high"}),
        ("X-Priority: 3\r\n", "priority-", set()),
        ("Precedence: bulk\r\n", "bulk-", {"bulk-no-unsubscribe"}),
        ("Precedence: first-class\r\n", "bulk-", set()),
        ("Feedback-ID: a:b:c\r\n", "bulk-", {"bulk-fields-no-unsubscribe"}),
        ("Precedence: list\r\nList-Unsubscribe: <mailto:x@y.example>\r\n", "bulk-", {"bulk-unsubscribe"}),
    ],
)
def test_programs(header: str, prefix: str, expected: set[str]) -> None:
    assert {fact for fact in facts(header) if fact.startswith(prefix)} == expected


SEVEN = "".join(f"X-{n}: y\r\n" for n in range(7))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (SEVEN, set()),
        ("From: a@b.example\r\n", {"fields-few"}),
        (SEVEN * 9, {"fields-many"}),
        (SEVEN + "X: é\r\n", {"fields-unencoded-letters"}),
        (SEVEN + "X: a\r\n \r\n b\r\n", {"fields-blank-line-folded"}),
        (SEVEN + "X: " + "a" * 1000 + "\r\n", {"fields-long-line"}),
        (SEVEN + "X: " + "a" * 600 + "\r\n " + "b" * 600 + "\r\n", set()),
        (SEVEN + "no field\r\n", {"fields-malformed"}),
        (SEVEN + "FROM: a@b.example\r\n", {"fields-odd-case"}),
        (SEVEN + "Reply-to: a@b.example\r\n", set()),
        (SEVEN + "From: a@b.example\r\nFrom: a@b.example\r\n", {"fields-twice"}),
    ],
)
def test_fields(header: str, expected: set[str]) -> None:
    assert {fact for fact in facts(header) if fact.startswith("fields-")} == expected
