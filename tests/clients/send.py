"""Sends one message file with Python's smtplib: HOST PORT USER PASSWORD PLAIN|LOGIN FROM FILE RECIPIENT..."""

import smtplib
import sys

host, port, user, password, mechanism, sender, file, *recipients = sys.argv[1:]
with open(file, "rb") as message:
    body = message.read()

with smtplib.SMTP(host, int(port), local_hostname="client.example", timeout=120) as smtp:
    smtp.ehlo()
    smtp.user, smtp.password = user, password
    method = {"PLAIN": smtp.auth_plain, "LOGIN": smtp.auth_login}[mechanism]
    smtp.auth(mechanism, method)
    options = ["SMTPUTF8", "BODY=8BITMIME"] if any(octet > 127 for octet in body) else []
    refused = smtp.sendmail(sender, recipients, body, mail_options=options)
    if refused:
        sys.exit(f"refused: {refused}")
