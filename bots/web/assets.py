"""The pages and their files, as they lie in the package.

The files are served under a path that holds a digest of all of them, so that browsers keep them for good and a new
version is a new path; modules import each other relatively and need not know. Knows no conversation.
"""

from __future__ import annotations

from functools import cache, partial
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from bots.texts import LANGUAGES, text, texts
from core.faq.files import MAX_FILE_BYTES
from core.service import MAX_COMMENT_CHARS

_PACKAGE = Path(__file__).parent
_STATIC = _PACKAGE / "static"
_FOR_EVER = "public, max-age=31536000, immutable"


@cache
def assets_path() -> str:
    """The path under which this version's files are served."""
    digest = sha256()
    for file in sorted(_STATIC.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(_STATIC).as_posix().encode())
            digest.update(file.read_bytes())
    return f"/assets/{digest.hexdigest()[:16]}"


class Assets(StaticFiles):
    """The files of the page, to be kept by the browser."""

    def __init__(self) -> None:
        super().__init__(directory=_STATIC)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, with its caching header."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = _FOR_EVER
        return response


@cache
def _rendered(template: str, language: str) -> str:
    templates = Environment(loader=FileSystemLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined)
    t = partial(text, language=language)
    return templates.get_template(template).render(
        t=t,
        language=language,
        languages=LANGUAGES,
        assets=assets_path(),
        examples=[t(f"web_example_{number}") for number in (1, 2, 3)],
        max_comment_chars=MAX_COMMENT_CHARS,
        max_file_bytes=MAX_FILE_BYTES,
        catalogue={"language": language, "texts": _texts(language)},
    )


def _texts(language: str) -> dict[str, str]:
    """What the operators' scripts say: their own sentences, the page's, and what people read of FAQs."""
    return {key: each for kind in ("operator_", "web_", "faq_") for key, each in texts(kind, language).items()}


def page(language: str) -> HTMLResponse:
    """The visitors' page in `language`."""
    return _answer("page.html.j2", language)


def operators_page(language: str) -> HTMLResponse:
    """The operators' page in `language`: words and scripts, and nothing of anyone's."""
    return _answer("operator.html.j2", language)


def _answer(template: str, language: str) -> HTMLResponse:
    headers = {"Cache-Control": "no-cache", "Content-Language": language, "Vary": "Accept-Language, Cookie"}
    return HTMLResponse(_rendered(template, language), headers=headers)
