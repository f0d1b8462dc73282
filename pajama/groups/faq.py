"""`pajama faq`: its commands and their options. What they do is in `pajama.commands.faq` and its neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pajama.options import AsJson

faq = typer.Typer(no_args_is_help=True, help="Curated questions and answers.")

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
