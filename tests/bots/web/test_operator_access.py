"""Who is an operator: by key or by a link that works once; everybody else is refused everything under /operator/api."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute
from itsdangerous import TimestampSigner

from bots.web.guards import MAX_BODY_BYTES
from bots.web.operator import badges, routes, signing_in
from bots.web.operator.badges import COOKIE, Badges, operator_key, sign_in_link
from core.errors import SettingsError
from core.faq.files import MAX_FILE_BYTES
from core.settings import load_settings
from tests.bots.web.conftest import Shop, forget_sign_ins

SESSION = "/operator/api/session"


@pytest.fixture(autouse=True)
def _nobody_tried(bookshop: Shop) -> None:
    forget_sign_ins(bookshop)


@pytest.fixture
def stranger(bookshop: Shop) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=bookshop.url, timeout=30) as client:
        yield client


def code_of(bookshop: Shop) -> str:
    return sign_in_link(bookshop.settings, bookshop.url).partition("#")[2]


def every_route() -> list[tuple[str, str]]:
    """Method and path of each route under /operator/api but signing in itself, and of one that is none."""
    found = [
        (method, route.path)
        for router in routes.ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    ]
    return [*(each for each in found if each != ("POST", SESSION)), ("GET", "/operator/api/anything")]


def test_nobody_without_a_badge_gets_anything(bookshop: Shop, stranger: httpx.Client) -> None:
    found = every_route()
    assert len(found) > 18
    forged = TimestampSigner("another key", salt="operator-badge").sign("x").decode()
    for method, path in found:
        address = path.replace("{collection_id}", "1")
        for cookie in ("", forged, "nonsense.a.b"):
            headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
            refused = stranger.request(method, address, headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "sign_in"), (method, path, cookie)


def test_the_page_itself_holds_nothing_but_words(bookshop: Shop, stranger: httpx.Client) -> None:
    for path in ("/operator", "/operator/collections/1", "/operator/anything"):
        page = stranger.get(path)
        assert page.status_code == 200 and "set-cookie" not in page.headers
        assert "default-src 'none'" in page.headers["content-security-policy"]
    assert stranger.get("/operator").text == stranger.get("/operator/collections/1").text
    assert '<html lang="zh-CN">' in stranger.get("/operator", headers={"Accept-Language": "zh"}).text


def test_the_key_gives_a_badge_that_scripts_and_other_sites_never_see(bookshop: Shop, stranger: httpx.Client) -> None:
    signed = stranger.post(SESSION, json={"key": operator_key(bookshop.settings)})
    cookie = signed.headers["set-cookie"].lower()
    assert signed.status_code == 204
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/operator", "max-age=43200"))
    assert "secure" not in cookie and operator_key(bookshop.settings).lower() not in cookie
    assert stranger.get(SESSION).status_code == 204
    assert stranger.delete(SESSION).status_code == 204
    assert stranger.get(SESSION).status_code == 401


@pytest.mark.parametrize(
    "given", [{}, {"key": ""}, {"key": "wrong"}, {"code": "wrong"}, {"code": "x.y.z"}, {"key": "ключ"}]
)
def test_anything_else_is_refused_in_one_sentence(stranger: httpx.Client, given: dict[str, str]) -> None:
    refused = stranger.post(SESSION, json=given)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "sign_in_wrong")
    assert "set-cookie" not in refused.headers


def test_a_link_works_once(bookshop: Shop, stranger: httpx.Client) -> None:
    code = code_of(bookshop)
    assert stranger.post(SESSION, json={"code": code}).status_code == 204
    with httpx.Client(base_url=bookshop.url) as second:
        assert second.post(SESSION, json={"code": code}).status_code == 401
        assert second.post(SESSION, json={"code": code_of(bookshop)}).status_code == 204


def test_a_link_and_a_badge_end(bookshop: Shop, stranger: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    code = code_of(bookshop)
    assert stranger.post(SESSION, json={"key": operator_key(bookshop.settings)}).status_code == 204
    monkeypatch.setattr(badges, "CODE_AGE_S", -1)
    monkeypatch.setattr(badges, "BADGE_AGE_S", -1)
    assert stranger.get(SESSION).status_code == 401
    assert stranger.post(SESSION, json={"code": code}).status_code == 401


def test_a_code_is_no_badge_and_a_badge_no_code(bookshop: Shop, stranger: httpx.Client) -> None:
    stranger.cookies.set(COOKIE, code_of(bookshop), path="/operator")
    assert stranger.get(SESSION).status_code == 401
    with bookshop.operator() as operator:
        badge = operator.cookies[COOKIE]
    assert stranger.post(SESSION, json={"code": badge}).status_code == 401


def test_another_key_makes_badges_and_links_void(bookshop: Shop) -> None:
    other = bookshop.settings.model_copy(update={"operator_key": load_settings(operator_key="x" * 16).operator_key})
    assert Badges(other).code_name(code_of(bookshop)) is None
    assert Badges(bookshop.settings).code_name(code_of(bookshop)) is not None


def test_too_many_tries_are_refused_also_with_the_right_key(stranger: httpx.Client, bookshop: Shop) -> None:
    for _ in range(signing_in.TRIES_PER_ADDRESS):
        assert stranger.post(SESSION, json={"key": "wrong"}).status_code == 401
    refused = stranger.post(SESSION, json={"key": operator_key(bookshop.settings)})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "sign_in_often")
    assert refused.headers["retry-after"]


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_site_makes_an_operator_do_nothing(bookshop: Shop, headers: dict[str, str]) -> None:
    with bookshop.operator() as operator:
        for method, path in (("POST", "/operator/api/collections"), ("DELETE", "/operator/api/collections/1"),
                             ("PUT", "/operator/api/settings"), ("POST", SESSION)):  # fmt: skip
            refused = operator.request(method, path, headers=headers, json={"name": "evil"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "cross_origin")


def test_only_an_operator_may_send_more_than_a_message(bookshop: Shop, stranger: httpx.Client) -> None:
    large = b"x" * (MAX_BODY_BYTES + 1)
    path = "/operator/api/collections/1/import?name=a.csv"
    assert stranger.post(path, content=large).status_code == 413
    with bookshop.operator() as operator:
        assert operator.post("/api/messages", content=large).status_code == 413
        assert operator.post(path, content=large).status_code != 413
        assert operator.post(path, content=b"x" * (MAX_FILE_BYTES + 1)).status_code == 413


def test_the_key_is_made_once_for_its_owner_only_and_a_short_one_is_refused(bookshop: Shop) -> None:
    file = bookshop.settings.data_dir / "operator_key"
    assert file.stat().st_mode & 0o777 == 0o600 and len(file.read_text()) >= 32
    assert operator_key(bookshop.settings) == file.read_text()
    given = load_settings(operator_key="sixteen-chars-ok")
    assert operator_key(given) == "sixteen-chars-ok"
    with pytest.raises(SettingsError, match="PAJAMA_OPERATOR_KEY") as refused:
        load_settings(operator_key="short-secret")
    assert "short-secret" not in str(refused.value)
