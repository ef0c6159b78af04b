"""`pgp-config demo`: a service under load while its key rotates, in ten seconds."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from pgp_config.demo import Show, Stage

if TYPE_CHECKING:
    from pgp_config.demo import Cue, Facts

#: How it ended: a promise was broken, or it was interrupted.
BROKEN, INTERRUPTED = 1, 130


def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Write one JSON document, and nothing else.")
    ] = False,
) -> None:
    """Watch a service take up a new key under load: ten seconds, in this process, nothing left behind.

    Four threads serve requests, each of which reads an API key and calls a partner with it. Meanwhile the key is
    rotated, the old one is disabled, and its source goes away and comes back.

    It ends with 0 if every promise was kept, with 1 if one was broken, with 2 for a wrong use, or with 130 if it was interrupted.
    """
    console = Console(highlight=False, soft_wrap=True, quiet=as_json)
    try:
        with Stage() as stage:
            console.print(
                f"Four threads serve requests. The key comes from {stage.where}.\n", markup=False
            )
            facts = Show(stage, lambda cue, on: _tell(console, cue, on)).run()
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(_document(facts), indent=2))
    else:
        _show(console, facts)
    if _is_broken(facts):
        raise typer.Exit(BROKEN)


def _tell(console: Console, cue: Cue, stage: Stage) -> None:
    used = max(stage.by_version, default=0)
    counts = f"{stage.requests:6,} requests, {stage.failed} failed, key version {used} in use"
    console.print(
        Text.assemble(
            (f"{cue.at:4.1f} s  ", "bold cyan"), (counts, "dim"), "  ← ", (cue.told, "cyan")
        )
    )


def _show(console: Console, facts: Facts) -> None:
    console.print()
    for promise in facts.promises():
        mark, style = ("✓ ", "green") if promise.kept else ("✗ NOT KEPT: ", "bold red")
        console.print(Text.assemble((mark, style), promise.text))
    console.print()
    if _is_broken(facts):
        console.print(Text("A promise was broken. Please report this.", style="bold red"))
    else:
        console.print(
            Text(
                "Every promise was kept. Next: pgp-config init my-service --framework flask",
                style="bold green",
            )
        )


def _is_broken(facts: Facts) -> bool:
    return not all(promise.kept for promise in facts.promises())


def _document(facts: Facts) -> dict[str, object]:
    return {
        "kept": not _is_broken(facts),
        "promises": [asdict(promise) for promise in facts.promises()],
        "measured": asdict(facts),
        "error": None,
        "exit_code": BROKEN if _is_broken(facts) else 0,
    }
