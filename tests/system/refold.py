"""What sendmail does to a message, and no more: for mail.py and oracle.py."""
import hashlib
import re

ADDRESS_FIELD = re.compile(rb"(?im)^(?:Resent-)?(?:From|Sender|Reply-To|To|Cc|Bcc):(?:.*\n)(?:[ \t].*\n)*")


def refolded(data):
    """Digest of a message (LF) whose header has no white space in its address fields: sendmail folds long ones anew
    and puts one blank after each comma (commaize()); nothing else may differ."""
    head, blank, body = data.partition(b"\n\n")
    head = ADDRESS_FIELD.sub(lambda field: re.sub(rb"\s+", b"", field.group(0)) + b"\n", head + b"\n")
    return hashlib.sha256(head + blank + body).hexdigest()
