"""Files: what people attach, what the bot uploads in three steps, and where both are fetched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web

from tests.bots.slack.standin import payloads, text_rules
from tests.bots.slack.standin.calls import DOWNLOAD, UPLOAD, ApiError, Call, Request, serves
from tests.bots.slack.standin.chat import destination
from tests.bots.slack.standin.message import File

if TYPE_CHECKING:
    from tests.bots.slack.standin.server import StandInSlack

Json = dict[str, Any]

CHUNK = 16_384
SIGN_IN = "<!DOCTYPE html><html><head><title>Sign in to Slack</title></head></html>"


@serves("files.getUploadURLExternal", "files:write", tier=4)
def upload_url(call: Call) -> Json:
    """The first step: announce a file."""
    file = File(call.slack.ids.next("F"), call.need("filename"), b"", uploaded=False)
    file.announced_length, file.snippet_type = int(call.need("length")), call.text("snippet_type")
    call.team.files[file.id] = file
    return {"upload_url": f"{call.slack.url}/upload/v1/{call.team.id}/{file.id}", "file_id": file.id}


@serves("files.completeUploadExternal", "files:write", tier=4)
def complete_upload(call: Call) -> Json:
    """The third step: show the uploaded files, perhaps in a channel."""
    listed = call.json("files") or []
    files = [call.team.files.get(one.get("id", "")) for one in listed]
    if not files or any(file is None or not file.uploaded for file in files):
        raise ApiError("file_not_found")
    shown = [file for file in files if file is not None]
    for file, one in zip(shown, listed, strict=True):
        file.title = one.get("title") or file.name
    for channel_id in (call.text("channels") or call.text("channel_id") or "").split(","):
        if channel_id:
            _share(call, shown, channel_id)
    return {"files": [payloads.file(file, call.team) for file in shown]}


def _share(call: Call, files: list[File], channel_id: str) -> None:
    call.arguments["channel"] = channel_id
    channel, comment = destination(call), call.text("initial_comment") or ""
    message = channel.new_message(call.team.bot, comment, thread=call.text("thread_ts"))
    message.files, message.subtype = files, "file_share"
    call.enforce(text_rules.pings(comment, call.team))
    channel.publish(message)


@serves("files.info", "files:read", tier=4)
def file_info(call: Call) -> Json:
    """A file."""
    file = call.team.files.get(call.need("file"))
    if file is None:
        raise ApiError("file_not_found")
    return {"file": payloads.file(file, call.team), "comments": [], "response_metadata": {"next_cursor": ""}}


@serves("files.delete", "files:write", tier=3)
def delete_file(call: Call) -> Json:
    """Delete a file everywhere."""
    file = call.team.files.pop(call.need("file"), None)
    if file is None:
        raise ApiError("file_not_found")
    for channel in call.team.channels.values():
        for message in channel.book.values():
            message.files = [one for one in message.files if one is not file]
    return {}


class FileServer:
    """Takes the bytes that a bot uploads, and serves those that people attach."""

    def __init__(self, slack: StandInSlack) -> None:
        self._slack = slack

    def add_to(self, app: web.Application) -> None:
        """Serve both."""
        app.router.add_post("/upload/v1/{team}/{file}", self._take)
        app.router.add_get("/files-pri/{key}/{rest:.*}", self._give)

    def _record(self, name: str, http: web.Request, team_id: str, file_id: str) -> Request:
        request = Request(name, self._slack.clock.now(), {"file": file_id}, {**http.headers}, http.method)
        request.team_id = team_id
        self._slack.requests.append(request)
        return request

    async def _take(self, http: web.Request) -> web.StreamResponse:
        """The second step: the bytes, bare or as a form's file."""
        team_id, file_id = http.match_info["team"], http.match_info["file"]
        request = self._record(UPLOAD, http, team_id, file_id)
        self._slack.limits.note_call(UPLOAD, team_id, None)
        fault = self._slack.faults.take(UPLOAD, team_id)
        response = None if fault is not None and not fault.work_done else await self._keep(http, request)
        if fault is not None:
            return await self._slack.api.fail(fault, Call(self._slack, http, request))
        assert response is not None
        return response

    async def _keep(self, http: web.Request, request: Request) -> web.Response:
        team_id, file_id = http.match_info["team"], http.match_info["file"]
        file = self._slack.teams[team_id].files[file_id]
        content = await _uploaded(http)
        if len(content) != file.announced_length:
            self._slack.violate("upload", f"{len(content)} bytes, announced {file.announced_length}", request)
            request.status = 400
            return web.Response(status=400, text="Posted data does not match the announced length")
        file.content, file.uploaded, request.status = content, True, 200
        return web.Response(text=f"OK - {len(content)}")

    async def _give(self, http: web.Request) -> web.StreamResponse:
        """A file's bytes, to whoever shows a token of the workspace; the sign-in page to all others."""
        team_id, _, file_id = http.match_info["key"].partition("-")
        request = self._record(DOWNLOAD, http, team_id, file_id)
        request.token = http.headers.get("Authorization", "").removeprefix("Bearer ")
        fault = self._slack.faults.take(DOWNLOAD, team_id)
        if fault is not None:
            return await self._slack.api.fail(fault, Call(self._slack, http, request))
        team, grant = self._slack.teams[team_id], self._slack.tokens.grants.get(request.token)
        file = team.files.get(file_id)
        if file is None:
            return web.Response(status=404)
        if file.redirect_to is not None:
            return web.Response(status=302, headers={"Location": file.redirect_to})
        request.status = 200
        if grant is None or grant.team is not team or grant.refusal or "files:read" not in grant.scopes:
            self._slack.violate("download", f"{file.name} without a token of its workspace", request)
            return web.Response(text=SIGN_IN, content_type="text/html")
        return await _stream(http, file)


async def _uploaded(http: web.Request) -> bytes:
    if http.content_type != "multipart/form-data":
        return await http.read()
    part = await (await http.multipart()).next()
    return bytes(await part.read()) if isinstance(part, BodyPartReader) else b""


async def _stream(http: web.Request, file: File) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": file.mimetype})
    await response.prepare(http)
    for at in range(0, len(file.content), CHUNK):
        await response.write(file.content[at : at + CHUNK])
        if file.chunk_delay_s:
            await asyncio.sleep(file.chunk_delay_s)
    await response.write_eof()
    return response
