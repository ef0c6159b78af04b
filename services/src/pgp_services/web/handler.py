"""What PGP_WEB_v1 shows: where a payment ends well, and where it does not."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from pgp_services.serving.answers import Answer
from pgp_services.serving.routes import Route

if TYPE_CHECKING:
    from pgp_services.provided import Provided
    from pgp_services.serving.routes import Call

#: No copy is used without a question: a switched URL is seen by the next visitor. The page loads nothing.
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>PGP payments</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 40rem }}</style>
</head>
<body>
<h1>PGP payments</h1>
<p>Payments are made in the bot. Afterwards you come back to one of these pages:</p>
<ul>
<li><a href="{success}">Payment received</a></li>
<li><a href="{failure}">Payment not completed</a></li>
</ul>
</body>
</html>
"""


class WebHandler:
    """Handles `GET /` and `GET /config.json`; usable from threads.

    Args:
        success_url: The secret PGP_SUCCESS_URL.
        failure_url: The secret PGP_FAILURE_URL.
    """

    def __init__(self, *, success_url: Provided[str], failure_url: Provided[str]) -> None:
        self._success_url = success_url
        self._failure_url = failure_url

    def routes(self) -> list[Route]:
        """What it answers to."""
        return [
            Route("/", self.page, method="GET"),
            Route("/config.json", self.configuration, method="GET"),
        ]

    def page(self, _: Call) -> Answer:
        """The front page.

        Raises:
            PgpConfigError: If a URL has no usable value.
        """
        success, failure = escape(self._success_url()), escape(self._failure_url())
        return Answer(200, _PAGE.format(success=success, failure=failure), HEADERS)

    def configuration(self, _: Call) -> Answer:
        """The same for programs.

        Raises:
            PgpConfigError: If a URL has no usable value.
        """
        content = {"success_url": self._success_url(), "failure_url": self._failure_url()}
        return Answer(200, content, HEADERS)

    def close(self) -> None:
        """Nothing is open."""

    async def aclose(self) -> None:
        """Nothing is open."""
