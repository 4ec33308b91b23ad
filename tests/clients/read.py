"""Reads the message on standard input as a mail program would and prints, as JSON, what a person sees of it."""

import email.policy
import json
import sys

message = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
text = message.get_body(("plain",)).get_content()
fields = {name: str(message[name]) for name in ("From", "To", "Subject", "Date", "Message-ID")}
print(json.dumps(fields | {"text": text.replace("\r\n", "\n"), "defects": [repr(it) for it in message.defects]}))
