"""`python -m trio_chat`."""

from trio_chat.cli import main

main()
