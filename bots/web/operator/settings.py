"""The routes of a Workspace's settings: the web page's, which has nobody else to manage it, or any other."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ValidationError
from starlette.requests import Request

from bots.texts import text
from bots.web.language import language_of
from bots.web.operator.badges import PATH
from bots.web.operator.collections import Office
from bots.web.operator.schemas import SettingBody, SettingRequest, SettingsBody
from bots.web.operator.signing_in import OPERATORS_ONLY
from bots.web.sessions import SITE
from core import workspaces
from core.errors import NotFound
from core.faq.office import FaqOffice
from core.service import Service
from core.values import Place
from core.workspaces import WorkspaceSettings

OF_THE_PAGE = f"web:{SITE}"
_LONG = ("persona",)

router = APIRouter(prefix=f"{PATH}/api/settings", dependencies=OPERATORS_ONLY)


@router.get("")
async def shown(
    request: Request, office: Office, workspace: Annotated[str, Query(max_length=300)] = OF_THE_PAGE
) -> SettingsBody:
    """Everything that can be set for a Workspace."""
    service: Service = request.app.state.service
    place = await _place(office, workspace)
    return await _body(office, workspace, await service.workspace_settings(place), language_of(request.scope))


@router.put("")
async def change(given: SettingRequest, request: Request, office: Office) -> SettingsBody:
    """Set one thing; null or nothing brings the default back."""
    service: Service = request.app.state.service
    place = await _place(office, given.workspace)
    value = given.value if given.value and given.value.strip() else None
    settings = await service.change_setting(place, given.name, value)
    return await _body(office, given.workspace, settings, language_of(request.scope))


async def _place(office: FaqOffice, workspace: str) -> Place:
    """Anywhere in the Workspace. Raises NotFound where nobody has said anything there, but for the page's own."""
    if workspace != OF_THE_PAGE:
        await office.check_workspace(workspace)
    platform, _, external_id = workspace.partition(":")
    try:
        return Place.model_validate({"platform": platform, "workspace": external_id, "conversation": "operator"})
    except ValidationError as error:
        raise NotFound(f"There is no workspace {workspace!r}.") from error


async def _body(office: FaqOffice, workspace: str, settings: WorkspaceSettings, language: str) -> SettingsBody:
    there = await office.workspaces()
    schema = WorkspaceSettings.model_json_schema()["properties"]
    return SettingsBody(
        workspace=workspace,
        workspaces=list(dict.fromkeys((OF_THE_PAGE, *there, workspace))),
        settings=[
            SettingBody(
                name=name,
                meaning=text(f"setting_{name}", language),
                kind="text" if name in _LONG else _kind(schema[name]),
                choices=_choices(schema[name]),
                value=_typed(getattr(settings, name)),
            )
            for name in workspaces.NAMES
        ],
    )


def _kinds(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """What a value may be, nothing left out."""
    return [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]


def _kind(schema: dict[str, Any]) -> str:
    if _choices(schema):
        return "choice"
    return "number" if _kinds(schema)[0].get("type") == "integer" else "line"


def _choices(schema: dict[str, Any]) -> list[str]:
    first = _kinds(schema)[0]
    return ["on", "off"] if first.get("type") == "boolean" else [str(each) for each in first.get("enum", [])]


def _typed(value: object) -> str | None:
    """A value as people type it; None where nothing is set."""
    if value is None or value in ((), ""):
        return None
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(value) if isinstance(value, tuple) else str(value)
