"""The command line: names, options and help. What a command does is in `pajama.commands`.

Groups with much to set have a file each in `pajama.groups`. Heavy libraries are imported by the command that needs them,
so that `--help` answers at once.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pajama.console import explained
from pajama.groups.faq import faq
from pajama.groups.model import model
from pajama.groups.privacy import privacy
from pajama.options import AsJson, Conversation

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=(
        "Self-hosted chat assistants for Discord, Slack, the web and the terminal, answered by your own GPU workers."
    ),
)
bot = typer.Typer(no_args_is_help=True, help="Run the adapter of one platform.")
db = typer.Typer(no_args_is_help=True, help="The database's schema.")
feedback = typer.Typer(no_args_is_help=True, help="What people think of answers.")
doctor = typer.Typer(help="What is wrong, and what would be right.")
discord = typer.Typer(no_args_is_help=True, help="The Discord bot's setting up.")
slack = typer.Typer(no_args_is_help=True, help="The Slack app's setting up.")
config = typer.Typer(no_args_is_help=True, help="The settings.")
docs = typer.Typer(no_args_is_help=True, help="The generated pages of docs/.")
operator = typer.Typer(no_args_is_help=True, help="Those who manage FAQs and settings on the web page.")
health = typer.Typer(no_args_is_help=True, help="Health checks for containers: exit code 0 or 1.")
for name, group in (
    ("bot", bot), ("db", db), ("faq", faq), ("feedback", feedback), ("privacy", privacy), ("model", model),
    ("config", config), ("docs", docs), ("health", health), ("doctor", doctor), ("discord", discord), ("slack", slack),
    ("operator", operator),
):  # fmt: skip
    app.add_typer(group, name=name)


@app.callback()
def pajama(
    parent_pipe: Annotated[int | None, typer.Option(hidden=True, help="Pipe whose end is the parent's.")] = None,
) -> None:
    """Self-hosted chat assistants."""
    if parent_pipe is not None:
        from pajama.children import watch_parent

        watch_parent(parent_pipe)


@app.command()
def up() -> None:
    """Run everything on this machine: queue, database, worker, web page. Ctrl-C stops all of it."""
    from pajama.commands import up as command

    command.up()


@app.command()
def chat(
    once: Annotated[str | None, typer.Option(metavar="TEXT", help="Say one thing, print the answer, leave.")] = None,
    as_json: AsJson = False,
    conversation: Conversation = "main",
) -> None:
    """Talk in the terminal. Uses the Pajama that runs here, or starts a worker for as long as it needs one."""
    from pajama.commands import chat as command

    if once is None:
        command.interactive(conversation)
    else:
        command.once(once, conversation, as_json=as_json)


@app.command()
def write(
    text: Annotated[str, typer.Argument(help="What to continue, or what to write about.")],
    task: Annotated[Literal["continue", "story", "compose"], typer.Option(help="What to do with it.")] = "continue",
    style: Annotated[str | None, typer.Option(help="Any words, for compose.")] = None,
    as_json: AsJson = False,
) -> None:
    """Continue a text, or write a new one."""
    from pajama.commands import chat as command

    command.task("write", text, as_json=as_json, task=task, style=style)


@app.command()
def translate(
    text: Annotated[str, typer.Argument(help="What to translate.")],
    to: Annotated[
        str | None, typer.Option(help="A language; without it Chinese becomes English, all else Chinese.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Translate a text."""
    from pajama.commands import chat as command

    command.task("translate", text, as_json=as_json, to=to)


@app.command()
def understand(
    text: Annotated[str, typer.Argument(help="What to understand.")],
    task: Annotated[
        Literal["classify", "extract", "summarise"] | None,
        typer.Option(help="Without it: classify where there are labels, else summarise."),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Labels to choose from, with commas.")] = None,
    fields: Annotated[str | None, typer.Option(help="What to extract.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the label of a text, extract something from it, or sum it up."""
    from pajama.commands import chat as command

    command.task("understand", text, as_json=as_json, task=task, labels=labels, fields=fields)


@app.command()
def worker() -> None:
    """Answer Turns from the queue with the model, until SIGTERM."""
    from pajama.commands import processes

    processes.worker()


@app.command()
def reaper() -> None:
    """Bring Turns of lost workers back to the queue, until SIGTERM."""
    from pajama.commands import processes

    processes.reaper()


@bot.command("web")
def bot_web() -> None:
    """Serve the web page, until SIGTERM."""
    from pajama.commands import processes

    processes.web()


@bot.command("discord")
def bot_discord() -> None:
    """Talk on Discord, until SIGTERM."""
    from pajama.commands import processes

    processes.discord()


@bot.command("slack")
def bot_slack() -> None:
    """Talk on Slack, until SIGTERM."""
    from pajama.commands import processes

    processes.slack()


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to the newest schema."""
    from pajama.commands import database

    database.upgrade()


@db.command("check")
def db_check() -> None:
    """Check that the database is at the newest schema; exit code 1 where it is not."""
    from pajama.commands import database

    database.check()


@app.command()
def history(
    conversation: Conversation = "main",
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many turns, the newest.")] = 20,
    as_json: AsJson = False,
) -> None:
    """What was said in the terminal."""
    from pajama.commands import database

    database.history(conversation, limit, as_json=as_json)


@app.command()
def why(
    turn: Annotated[int, typer.Argument(metavar="TURN", help="Number of the turn.")], as_json: AsJson = False
) -> None:
    """Why a turn was answered so: the prompt as the model saw it, tokens, timings, model."""
    from pajama.commands import database

    database.why(turn, as_json=as_json)


@feedback.command("export")
def feedback_export(
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
) -> None:
    """Every rating with its question and answer, on standard output."""
    from pajama.commands import database

    database.export_feedback(form)


@doctor.callback(invoke_without_command=True)
def doctor_all(context: typer.Context, as_json: AsJson = False) -> None:
    """Look at everything that Pajama needs and say what is wrong; exit code 1 where something is."""
    from pajama.commands import doctor as command

    if context.invoked_subcommand is None:
        command.doctor(as_json=as_json)


@doctor.command("discord")
def doctor_discord(as_json: AsJson = False) -> None:
    """Ask Discord: token, intents, permissions by channel, commands, clock, connections left."""
    from pajama.commands import doctor as command

    command.doctor_discord(as_json=as_json)


@doctor.command("slack")
def doctor_slack(as_json: AsJson = False) -> None:
    """Ask Slack: tokens, scopes, mode, clock, and which events have come; and whether database and queue are there."""
    from pajama.commands import doctor as command

    command.doctor_slack(as_json=as_json)


@discord.command("invite-url")
def discord_invite_url() -> None:
    """Print the address at which the bot is added to a guild."""
    from pajama.commands import discord as command

    command.invite_url()


@operator.command("link")
def operator_link(
    url: Annotated[str, typer.Option(help="Where the page is reached, such as https://chat.example.com.")] = "",
) -> None:
    """Print a link that signs in whoever follows it first, within an hour."""
    from pajama.commands import operator as command

    command.link(url)


@config.command("show")
def config_show(as_json: AsJson = False) -> None:
    """The effective settings and where each comes from; secrets are masked."""
    from pajama.commands import config as command

    command.show(as_json=as_json)


@docs.command("generate")
def docs_generate() -> None:
    """Write the generated pages."""
    from pajama.commands import docs as command

    command.generate()


@docs.command("check")
def docs_check() -> None:
    """Check that the generated pages are fresh; exit code 1 where one is not."""
    from pajama.commands import docs as command

    command.check()


@health.command("web")
def health_web() -> None:
    """Whether the web page answers."""
    from pajama.commands import health as command

    command.web()


@slack.command("manifest")
def slack_manifest(
    mode: Annotated[Literal["socket", "http"], typer.Option(help="How events come.")] = "socket",
    url: Annotated[
        str, typer.Option(help="How Slack and people reach Pajama from outside: for HTTP mode and for OAuth.")
    ] = "https://pajama.example.com",
    oauth: Annotated[
        bool, typer.Option("--oauth", help="For many workspaces, which install the app themselves.")
    ] = False,
) -> None:
    """Print the app's manifest in YAML, to be pasted at api.slack.com."""
    from pajama.commands import slack as command

    command.manifest(mode, url, oauth=oauth)


@health.command("discord")
def health_discord() -> None:
    """Whether the Discord bot is connected."""
    from pajama.commands import health as command

    command.discord()


@health.command("slack")
def health_slack() -> None:
    """Whether the Slack bot listens."""
    from pajama.commands import health as command

    command.slack()


@health.command("worker")
def health_worker() -> None:
    """Whether a worker is ready."""
    from pajama.commands import health as command

    command.worker()


@health.command("reaper")
def health_reaper() -> None:
    """Whether the reaper is alive."""
    from pajama.commands import health as command

    command.reaper()


def main() -> None:
    """Run the command line. An error on purpose is one sentence and an exit code."""
    with explained():
        app()
