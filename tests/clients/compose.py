"""Sends a mail with Python's smtplib: SETTINGS (Python that makes `smtp`) FROM SUBJECT TEXT-FILE RECIPIENT..."""

import smtplib
import ssl  # noqa: F401, for the settings
import sys
from email.message import EmailMessage


def insist(smtp, mechanism, user, password):
    """Logs in with this mechanism, as smtplib itself never lets one choose."""
    smtp.ehlo_or_helo_if_needed()
    smtp.user, smtp.password = user, password
    smtp.auth(mechanism, getattr(smtp, f"auth_{mechanism.lower()}"))


settings, sender, subject, file, *recipients = sys.argv[1:]
message = EmailMessage()
message["From"], message["To"], message["Subject"] = sender, ", ".join(recipients), subject
with open(file, encoding="utf-8") as text:
    message.set_content(text.read(), cte="8bit")

with open(settings, encoding="utf-8") as program:
    smtplib.SMTP.debuglevel = 1
    code = compile(program.read(), settings, "exec")
exec(code)
with smtp:  # noqa: F821
    smtp.send_message(message)  # noqa: F821
