"""The rules by name: what each looks for, for `--ignore`, for SARIF and for people."""

from __future__ import annotations

#: A rule's name and what it finds in sources.
SOURCE_RULES = {
    "env-read": "A declared secret is read from the environment by hand, past its scope, type and reload class.",
    "env-secret": "The environment is read for what its name says is a secret, and no container declares it.",
    "env-unknown": "Beside a container the environment is read for a name that cannot be told: it may be a secret's.",
    "import-read": "A dynamic secret is read while a module is imported: the value is kept over rotations.",
    "hard-coded-value": "A literal is given to the name of a declared secret.",
    "hard-coded-secret": "A literal that looks random is given to a name that says password, key, token or secret.",
    "hard-coded-password": "A literal with letters and digits is given to an argument called password, secret, token or api_key.",
    "hard-coded-url": "The URL of one of the own hosts stands in the source.",
    "hard-coded-private-key": "A private key stands in the source.",
    "hard-coded-hex-key": "64 hexadecimal digits that are used as a key stand in the source.",
    "hard-coded-bot-token": "The token of a Telegram bot stands in the source.",
    "hard-coded-webhook": "The URL of a Slack webhook, which is a secret, stands in the source.",
    "hard-coded-url-key": "A URL in the source has a key in it.",
    "hard-coded-api-key": "An API key stands in the source.",
    "hard-coded-url-password": "A URL in the source has a password in it.",
    "hard-coded-bearer": "A header with a bearer token stands in the source.",
    "hard-coded-token": "A token of a well-known issuer (AWS, GitHub, GitLab, Google, Slack, Stripe) stands in the source.",
    "unused": "A container declares a secret, and nothing uses it.",
    "undeclared": "A secret is used that the container of that folder does not declare.",
    "unused-allow": "A comment lets something pass that is not found.",
    "unreadable": "A file, or an entry of an export, cannot be read, and was not judged.",
}

#: The same of an export of the audit log.
EXPORT_RULES = {
    "static-read": "A static secret was read while the service was serving.",
    "denied": "A service was denied a declared secret.",
    "no-evidence": "The export has no access to a declared secret: nothing can be told from it.",
}

#: All of them.
RULES = SOURCE_RULES | EXPORT_RULES
