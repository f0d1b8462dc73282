"""Signing in and out at `/operator/api/session`, and what every other route there asks first."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends
from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from bots.web.operator.badges import CODE_AGE_S, PATH, Badges
from bots.web.refusals import Refused
from bots.web.schemas import Request as Body
from core.rates import Rate
from core.service import Service

TRIES_PER_ADDRESS, TRIES, WITHIN_S = 10, 100, 300
"""Sign-ins from one address, and from all, in so many seconds. Right ones count as well."""

log = structlog.get_logger(__name__)
router = APIRouter(prefix=f"{PATH}/api/session")


class SignIn(Body):
    """The key, or the code of a link."""

    key: Annotated[str, StringConstraints(max_length=500)] = ""
    code: Annotated[str, StringConstraints(max_length=500)] = ""


def signed_in(request: Request) -> None:
    """Whoever wears no badge is refused. Raises Refused."""
    if not _badges(request).worn(request.scope):
        raise Refused(401, "sign_in")


OPERATORS_ONLY = [Depends(signed_in)]


@router.post("", status_code=204)
async def sign_in(given: SignIn, request: Request, response: Response) -> None:
    """Take the key, or a link's code once, for a badge. Every try counts; what is wrong is not said."""
    service: Service = request.app.state.service
    address = request.client.host if request.client else "unknown"
    mine = await service.rates.within(f"sign-in-{address}", Rate(TRIES_PER_ADDRESS, WITHIN_S))
    if not mine or not await service.rates.within("sign-in", Rate(TRIES, WITHIN_S)):
        raise Refused(429, "sign_in_often")
    if not await _is_right(given, request, service):
        log.warning("A sign-in was refused.", action="operator_refused", by="code" if given.code else "key")
        raise Refused(401, "sign_in_wrong")
    log.info("An operator signed in.", action="operator_signed_in", by="code" if given.code else "key")
    _badges(request).pin_on(response)


@router.get("", status_code=204, dependencies=OPERATORS_ONLY)
async def look() -> None:
    """Whether one is signed in."""


@router.delete("", status_code=204, dependencies=OPERATORS_ONLY)
async def sign_out(request: Request, response: Response) -> None:
    """Give the badge back."""
    _badges(request).take_off(response)


async def _is_right(given: SignIn, request: Request, service: Service) -> bool:
    badges = _badges(request)
    if not given.code:
        return badges.is_key(given.key)
    name = badges.code_name(given.code)
    return name is not None and await service.notes.only_once(f"operator-code-{name}", CODE_AGE_S)


def _badges(request: Request) -> Badges:
    badges: Badges = request.app.state.badges
    return badges
