"""The command line: names, options and help. What a command does is in `pajama.commands`.

Heavy libraries are imported by the command that needs them, so that `--help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pajama.console import explained

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
faq = typer.Typer(no_args_is_help=True, help="Curated questions and answers.")
feedback = typer.Typer(no_args_is_help=True, help="What people think of answers.")
privacy = typer.Typer(no_args_is_help=True, help="What is kept of a person: show, export, forget; and retention.")
model = typer.Typer(no_args_is_help=True, help="SlimPajama, the model.")
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


def _usable(name: str) -> str:
    """The name of a conversation or person, which is an identifier like those of the platforms."""
    from pydantic import TypeAdapter, ValidationError

    from core.values import Identifier

    try:
        return TypeAdapter[str](Identifier).validate_python(name)
    except ValidationError as error:
        raise typer.BadParameter(
            "use 1 to 200 unaccented letters, digits and punctuation marks, without spaces."
        ) from error


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Conversation = Annotated[str, typer.Option(callback=_usable, help="Name of the conversation in the terminal.")]


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


OnPlatform = Annotated[str, typer.Option("--platform", help="discord, slack, web or terminal.")]
WithId = Annotated[str, typer.Option("--person", metavar="ID", callback=_usable, help="The platform's id of them.")]


@privacy.command("show")
def privacy_show(platform: OnPlatform, person: WithId, as_json: AsJson = False) -> None:
    """How much is kept of a person, and whether they opted out."""
    from pajama.commands import privacy as command

    command.show(platform, person, as_json=as_json)


@privacy.command("export")
def privacy_export(
    platform: OnPlatform,
    person: WithId,
    out: Annotated[Path | None, typer.Option(help="A new file to write; else standard output.")] = None,
) -> None:
    """Everything that is kept of a person, as JSON."""
    from pajama.commands import privacy as command

    command.export(platform, person, out)


@privacy.command("forget")
def privacy_forget(platform: OnPlatform, person: WithId, as_json: AsJson = False) -> None:
    """Delete every word of a person, now and for good; prints how many there were."""
    from pajama.commands import privacy as command

    command.forget(platform, person, as_json=as_json)


@privacy.command("opt-out")
def privacy_opt_out(platform: OnPlatform, person: WithId, as_json: AsJson = False) -> None:
    """Keep nothing of a person from now on; what is there already stays."""
    from pajama.commands import privacy as command

    command.opt(platform, person, out_of_it=True, as_json=as_json)


@privacy.command("opt-in")
def privacy_opt_in(platform: OnPlatform, person: WithId, as_json: AsJson = False) -> None:
    """Keep again what a person says from now on."""
    from pajama.commands import privacy as command

    command.opt(platform, person, out_of_it=False, as_json=as_json)


@privacy.command("purge")
def privacy_purge(as_json: AsJson = False) -> None:
    """Delete now what is older than it may be kept, as the reaper does every hour; prints how much there was."""
    from pajama.commands import privacy as command

    command.purge(as_json=as_json)


FaqName = Annotated[str, typer.Argument(metavar="COLLECTION", help="Name of the collection.")]
OfWorkspace = Annotated[
    str, typer.Option("--workspace", metavar="PLATFORM:ID", help="Whose collection; without it everybody's.")
]
Encoding = Annotated[str, typer.Option(help="Encoding of a file that is no UTF-8, such as gb18030.")]


@faq.command("import")
def faq_import(
    collection: FaqName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, JSON, JSON Lines, YAML or Markdown.")],
    workspace: OfWorkspace = "",
    encoding: Encoding = "",
    language: Annotated[str, typer.Option(help="Language of entries that name none, such as en or zh-CN.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Remove what the file does not hold.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring entries in from a file: by key, all of them or none."""
    from pajama.commands import faq as command

    command.import_file(
        collection,
        file,
        workspace=workspace,
        encoding=encoding,
        language=language,
        replace=replace,
        dry_run=dry_run,
        as_json=as_json,
    )


@faq.command("export")
def faq_export(
    collection: FaqName,
    form: Annotated[str, typer.Option("--format", help="csv, json, jsonl, yaml or md; else as --out ends.")] = "",
    target: Annotated[Path | None, typer.Option("--out", help="File to write; without it standard output.")] = None,
    workspace: OfWorkspace = "",
) -> None:
    """Write a collection's entries, as `import` reads them."""
    from pajama.commands import faq as command

    command.export(collection, workspace=workspace, form=form, target=target)


@faq.command("remove")
def faq_remove(collection: FaqName, workspace: OfWorkspace = "") -> None:
    """Remove a collection. What was answered from it can still be explained."""
    from pajama.commands import faq as command

    command.remove(collection, workspace=workspace)


@faq.command("list")
def faq_list(
    collection: Annotated[str | None, typer.Argument(metavar="COLLECTION", help="Without it: the collections.")] = None,
    workspace: OfWorkspace = "",
    as_json: AsJson = False,
) -> None:
    """The collections, or the entries of one, with how often they were given and helped."""
    from pajama.commands import faq as command

    command.show(collection, workspace=workspace, as_json=as_json)


@faq.command("search")
def faq_search(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What somebody may ask.")],
    collection: Annotated[str | None, typer.Option(help="Only in this collection.")] = None,
    workspace: OfWorkspace = "",
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many entries.")] = 5,
    as_json: AsJson = False,
) -> None:
    """What is found for a question, how sure that is, and what would be done."""
    from pajama.commands import faq_measuring as command

    command.search(question, name=collection, workspace=workspace, limit=limit, as_json=as_json)


@faq.command("gaps")
def faq_gaps(
    collection: Annotated[
        str | None, typer.Option(help="Only questions for which this collection came nearest.")
    ] = None,
    workspace: Annotated[
        str, typer.Option(metavar="PLATFORM:ID", help="Only what was asked there; without it everywhere.")
    ] = "",
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Only what was asked in the last so many.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many gaps, those asked most.")] = 20,
    target: Annotated[
        Path | None, typer.Option("--out", help="File for the suggested entries, to be filled in and imported.")
    ] = None,
    dismiss: Annotated[
        str | None, typer.Option(metavar="GAP_ID", help="Show the gap with this gap_id of --json no more.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What people asked that no entry answered, or whose answer did not help: gathered and counted."""
    from pajama.commands import faq_gaps as command

    command.show(
        collection=collection,
        workspace=workspace,
        days=days,
        limit=limit,
        target=target,
        dismiss=dismiss,
        as_json=as_json,
    )


@faq.command("eval")
def faq_eval(
    collection: FaqName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or JSON Lines with question and key.")],
    workspace: OfWorkspace = "",
    encoding: Encoding = "",
    as_json: AsJson = False,
) -> None:
    """Measure a collection on labelled questions: an empty key says that no entry answers it."""
    from pajama.commands import faq_measuring as command

    command.evaluate(collection, file, workspace=workspace, encoding=encoding, as_json=as_json)


@faq.command("calibrate")
def faq_calibrate(
    collection: FaqName,
    risk: Annotated[
        float | None,
        typer.Option(min=0.001, max=0.5, help="Share of answers that may be wrong; without it the last one, or 0.02."),
    ] = None,
    uncovered: Annotated[
        float | None,
        typer.Option(min=0, max=0.9, help="Share of questions that no entry answers; else the last one, or 0.2."),
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="Labelled questions, as for eval; without them phrasings are held out.")
    ] = None,
    workspace: OfWorkspace = "",
    encoding: Encoding = "",
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File for the curve of coverage and risk, .svg or .png.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set how sure is sure enough, and show what other risks would give."""
    from pajama.commands import faq_measuring as command

    command.calibrate_collection(
        collection,
        workspace=workspace,
        risk=risk,
        uncovered=uncovered,
        questions=questions,
        encoding=encoding,
        plot=plot,
        dry_run=dry_run,
        as_json=as_json,
    )


@model.command("train")
def model_train(
    preset: Annotated[str, typer.Option(help="tiny, micro, nano, small or base; llama is a dense model to convert.")],
    data: Annotated[Path, typer.Option(help="Folder with pretrain/ and sft/, zstd JSON Lines.")],
    out: Annotated[Path, typer.Option(help="Folder of checkpoints; the same command goes on where it stood.")],
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens to learn from, both phases together.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="End after so long; without --tokens the schedule.")
    ] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a step.")] = 4096,
    accumulate: Annotated[int, typer.Option(min=1, help="Parts of a batch that are in memory one at a time.")] = 1,
    ema: Annotated[
        float, typer.Option(min=0, max=0.9999, help="Keep a running mean of the weights, e.g. 0.99; 0 is none.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the first weights.")] = 1,
) -> None:
    """Train a SlimPajama: tokenizer, pretraining, then conversations. On a GPU where there is one, or under torchrun."""
    from pajama.commands import model as command

    asked = {"tokens": tokens, "minutes": minutes, "batch_tokens": batch_tokens, "accumulate": accumulate}
    command.train(preset, data, out, **asked, ema=ema, seed=seed)


@model.command("eval")
def model_eval(
    checkpoint: Annotated[str, typer.Argument(help="`slimpajama`, a folder or a hub name.")],
    data: Annotated[Path, typer.Option(help="Folder with pretrain/, sft/heldout/ and bench/, zstd JSON Lines.")],
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many rows of each held-out set.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a checkpoint on held-out text, questions, translations and intents, beside baselines."""
    from pajama.commands import model_evaluation as command

    command.evaluate(checkpoint, data, limit=limit, as_json=as_json)


@model.command("samples")
def model_samples(
    checkpoint: Annotated[str, typer.Argument(help="`slimpajama`, a folder or a hub name.")],
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 1,
    as_json: AsJson = False,
) -> None:
    """What a checkpoint makes of ten texts to continue, ten to translate and ten to understand: Markdown."""
    from pajama.commands import model_samples as command

    command.samples(checkpoint, seed, as_json=as_json)


@model.command("slim")
def model_slim(
    source: Annotated[str, typer.Argument(help="A Llama-type model: a folder or a hub name.")],
    out: Annotated[Path, typer.Option(help="Folder of the SlimPajama.")],
    share: Annotated[str, typer.Option(help="Blocks x repeats, as 4x5; or with the unique layers, as 1+4x5+1.")],
    rank: Annotated[int, typer.Option(min=0, help="Of the addition that each tied layer has to each matrix.")],
    pattern: Annotated[
        Literal["cycle", "sequence"], typer.Option(help="Tied are every so many layers, or neighbours.")
    ] = "cycle",
    calibrate: Annotated[Path | None, typer.Option(help="Text to weigh by, zstd JSON Lines.")] = None,
    heal: Annotated[Path | None, typer.Option(help="Folder with pretrain/, to heal on.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens to heal on.")] = None,
) -> None:
    """Make a SlimPajama of a Llama-type model. Of no use before it is healed, and refused until then."""
    from pajama.commands import model_conversion as command

    command.slim(source, out, share=share, rank=rank, pattern=pattern, calibration=calibrate, heal=heal, tokens=tokens)


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
