"""Reads one bounce with Python's email package and prints what it found as JSON: FILE. Ends with 1 when it finds a defect."""

import email
import email.policy
import json
import sys

with open(sys.argv[1], "rb") as file:
    message = email.message_from_binary_file(file, policy=email.policy.default)

defects = []
for part in message.walk():
    defects += part.defects
    for name, value in part.items():
        defects += [f"{name}: {defect!r}" for defect in getattr(value, "defects", [])]

text, status, original = message.iter_parts()
blocks = status.get_payload()
returned = original.get_content()
print(
    json.dumps(
        {
            "type": message.get_content_type(),
            "report-type": message.get_param("report-type"),
            "parts": [part.get_content_type() for part in message.iter_parts()],
            "header": [[name, str(value)] for name, value in message.items()],
            "text": text.get_content(),
            "status": [[[name, str(value)] for name, value in block.items()] for block in blocks],
            "original": returned if isinstance(returned, str) else returned.as_string(),
        }
    )
)
if defects:
    sys.exit(f"defects: {defects}")
