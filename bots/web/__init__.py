"""The web page: FastAPI, server-sent events, one page without a build step."""
