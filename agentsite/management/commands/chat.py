"""`manage.py chat`: talk to a running server from the terminal."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from agentsite.management.terminal.client import ChatClient
from agentsite.management.terminal.conversation import Conversation
from agentsite.management.terminal.screen import Screen

FAILED = {
    "error": "The run failed.",
    "lost": "No answer. Is a server running at {url}? Start one with: python manage.py up",
    "refused": "The server did not take the message.",
}
LEAVE = {"/exit", "/quit"}


class Command(BaseCommand):
    """Reads messages until the input ends, or sends the one that is given."""

    help = "Chat with a running server. Ctrl-C stops an answer, Ctrl-D leaves."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """A message, and whom to say it to."""
        parser.add_argument("message", nargs="*", help="one message; without it, a conversation")
        parser.add_argument("--url", default=f"http://127.0.0.1:{settings.PORT}")
        parser.add_argument("--session", help="go on with this session")
        parser.add_argument("--scope", default="", help="scope_id, the tenant to speak for")
        parser.add_argument("--agent", default="", help="agentId, where the server has several")
        parser.add_argument(
            "--key", default=settings.AGENTSITE_KEY,
            help="key of a server that asks for one; AGENTSITE_KEY keeps it off the command line",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the chat; exit status 1 when a single message fails."""
        client = ChatClient(
            options["url"], scope=options["scope"], agent=options["agent"], key=options["key"]
        )
        console = Console(highlight=False)
        conversation = Conversation(
            client, Screen(console), console.input, session=options["session"]
        )
        try:
            if options["message"]:
                outcome = conversation.send(" ".join(options["message"]))
                if outcome in FAILED:
                    raise CommandError(FAILED[outcome].format(url=client.url))
            else:
                converse(conversation, console)
        finally:
            client.close()


def converse(conversation: Conversation, console: Console) -> None:
    """Read and send messages until the input ends."""
    while True:
        try:
            message = console.input("\n[bold]you>[/bold] ").strip()
            if message in LEAVE:
                break
            if message:
                conversation.send(message)
        except (EOFError, KeyboardInterrupt):
            break
    if conversation.session:
        console.print(f"\nGo on with: python manage.py chat --session {conversation.session}")
