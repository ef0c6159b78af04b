"""What people write to the bot: commands, to us or to another bot, and links to it."""

import pytest

from pgp_services.bots import Command, command_in, deep_link, message_in
from pgp_services.clients.telegram import Update


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/start", Command("start", "")),
        ("/START", Command("start", "")),
        ("/start paid", Command("start", "paid")),
        ("  /claim \n a.b \n", Command("claim", "a.b")),
        ("/start@Pgp_Bot paid", Command("start", "paid")),
        ("/start@pgp_bot", Command("start", "")),
        ("/start@OtherBot", None),
        ("/start@pgp_bot2", None),
        ("hello", None),
        ("hello /start", None),
        ("/", None),
        ("", None),
        ("/stärt", None),
        ("/start-now", None),
    ],
)
def test_commands_to_other_bots_are_not_ours(text, command):
    assert command_in(text, "Pgp_Bot") == command


def test_links_open_a_chat_with_the_bot():
    assert deep_link("pgp_bot") == "https://t.me/pgp_bot"
    assert deep_link("pgp_bot", "paid") == "https://t.me/pgp_bot?start=paid"


def test_what_nobody_wrote_is_no_message():
    whole = {"update_id": 1, "chat_id": 2, "user_id": 3, "text": "CANARY"}
    message = message_in(Update(**whole))
    assert (message.update_id, message.chat_id, message.user_id) == (1, 2, 3)
    assert "CANARY" not in repr(message) + repr(command_in("/claim CANARY", "b"))
    for missing in ("chat_id", "user_id", "text"):
        assert message_in(Update(**{**whole, missing: None})) is None
    assert message_in(Update(**{**whole, "text": ""})) is None
