"""The mailbox: a shop posts its emails here, and a tester reads both parts."""

from email.message import EmailMessage
from typing import Any


def message() -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "shop@shop.example", "asha@example.com", "Réset your password"
    mail.set_content("Open https://shop.example/reset/1")
    mail.add_alternative(
        '<p>Open <a href="https://shop.example/reset/1">this</a></p><script>x</script>', "html"
    )
    return mail.as_bytes()


def test_a_whole_message_is_kept_with_both_parts(api: Any) -> None:
    headers = {"Content-Type": "message/rfc822"}
    made = api.http.post(f"{api.base}/_sandbox/mail", data=message(), headers=headers)
    assert made.status_code == 201

    (mail,) = api.get("/_sandbox/mail").json()["items"]
    assert (mail["to"], mail["subject"]) == ("asha@example.com", "Réset your password")
    assert "https://shop.example/reset/1" in mail["text"]
    page = api.get(f"/_sandbox/mail/{mail['id']}/html")
    assert "<p>Open" in page.text
    assert "script-src" not in page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_json_will_do_and_mail_can_be_searched(api: Any) -> None:
    for to in ("asha@example.com", "ravi@example.com"):
        sent = {"from": "shop@shop.example", "to": to, "subject": "Hello", "text": "Hello"}
        assert api.post("/_sandbox/mail", sent).status_code == 201

    assert [one["to"] for one in api.get("/_sandbox/mail?q=RAVI").json()["items"]] == ["ravi@example.com"]
    assert api.post("/_sandbox/mail", {"subject": "to nobody"}).status_code == 400
    assert api.get("/_sandbox/mail/99").status_code == 404
