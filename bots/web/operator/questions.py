"""The routes of what a worker is asked: trying a question, gaps, measuring and evaluating a collection."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request

from bots.texts import text
from bots.web.language import language_of
from bots.web.operator.badges import PATH
from bots.web.operator.collections import Office, Short
from bots.web.operator.schemas import DismissRequest, RiskBody, RiskRequest, TriedBody, TryRequest
from bots.web.operator.signing_in import OPERATORS_ONLY
from core.faq.calibration import MODES, Calibration
from core.faq.evaluation import Report
from core.faq.gaps import GapReport
from core.faq.office import File
from core.faq.plot import Wording, curves, svg

EVALUATE_PATH = "/evaluation"

router = APIRouter(prefix=f"{PATH}/api", dependencies=OPERATORS_ONLY)


@router.post("/try")
async def try_question(given: TryRequest, request: Request, office: Office) -> TriedBody:
    """What would be done with a question."""
    language = language_of(request.scope)
    tried = await office.tried(given.text, given.workspace, given.collection_id)
    return TriedBody(
        told=text(f"operator_outcome_{tried.outcome}", language),
        reason=text(f"operator_reason_{tried.reason}", language),
        tried=tried,
    )


@router.get("/gaps")
async def gaps(
    office: Office,
    workspace: Short = "",
    collection: Annotated[int | None, Query(ge=1)] = None,
    days: Annotated[int, Query(ge=0, le=36_500)] = 0,
) -> GapReport:
    """What was asked and not answered."""
    return await office.gaps(workspace, collection, days or None)


@router.post("/gaps/dismiss", status_code=204)
async def dismiss(given: DismissRequest, office: Office) -> None:
    """Show these questions no more."""
    await office.dismiss(given.turn_ids)


@router.get("/collections/{collection_id}/risk")
async def risk(collection_id: int, request: Request, office: Office) -> RiskBody:
    """What was measured of a collection last time."""
    view = (await office.collection(collection_id)).view
    return _risk_body(view.calibration, view.revision, request)


@router.post("/collections/{collection_id}/risk")
async def measure(collection_id: int, given: RiskRequest, request: Request, office: Office) -> RiskBody:
    """Measure a collection, and keep its thresholds."""
    made = await office.calibrate(collection_id, given.target_risk, given.uncovered_share)
    return _risk_body(made, made.revision, request)


@router.post(f"/collections/{{collection_id}}{EVALUATE_PATH}")
async def evaluate(
    collection_id: int,
    request: Request,
    office: Office,
    name: Annotated[str, Query(min_length=1, max_length=200)],
    encoding: Annotated[str, Query(max_length=20)] = "",
) -> Report:
    """How the collection does on the labelled questions of a file (the body, as it is). Keeps nothing."""
    return await office.evaluate(collection_id, File(name.rpartition("/")[2] or name, await request.body(), encoding))


def _risk_body(stored: Calibration | dict[str, Any] | None, revision: int, request: Request) -> RiskBody:
    if stored is None:
        return RiskBody(calibration=None, plot="", changed=False)
    made = Calibration.model_validate(stored)
    plot = svg(made, _wording(language_of(request.scope))) if curves(made) else ""
    return RiskBody(calibration=made, plot=plot, changed=made.revision != revision)


def _wording(language: str) -> Wording:
    return Wording(
        title=text("operator_plot_title", language),
        covered=text("operator_plot_covered", language),
        wrong=text("operator_plot_wrong", language),
        target=text("operator_plot_target", language),
        modes={mode: text(f"operator_mode_{mode.partition('-')[0]}", language) for mode in MODES},
    )
