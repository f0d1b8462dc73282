"""Every setting: its name, type, default and meaning.

Read once at the process edge by `load_settings` and passed in from there. Sources, the strongest first: environment
variables `PAJAMA_…`, `.env`, `pajama.toml`, the defaults below. The settings table of the docs is generated from here.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from core.errors import SettingsError
from core.values import SamplingParams

PREFIX = "PAJAMA_"
TOML_FILE = Path("pajama.toml")
MIN_OPERATOR_KEY_CHARS = 16

Seconds = Annotated[float, Field(allow_inf_nan=False)]


def _names(value: object) -> object:
    """Names between commas, each once; a list, as TOML has it, is left as it is."""
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    return tuple(dict.fromkeys(filter(None, names))) if isinstance(names, list | tuple) else names


ModelName = Annotated[str, Field(max_length=200)]
ModelNames = Annotated[tuple[ModelName, ...], NoDecode, BeforeValidator(_names)]

# Read by the Makefile and by the tests, not by the program.
_OUTSIDE = ("PAJAMA_TEST_", "PAJAMA_TORCH_INDEX")


class Settings(BaseSettings):
    """The effective settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, validate_default=True, toml_file=TOML_FILE
    )

    data_dir: Path = Field(Path(".pajama"), description="Folder for the default database, embedded Valkey and secrets.")
    database_url: str = Field(
        "",
        description="SQLAlchemy URL: `sqlite:///path` or `postgresql+psycopg://user@host/database`. "
        "Empty: SQLite in `data_dir`.",
    )
    redis_url: str = Field(
        "", description="`redis://`, `rediss://` or `unix://` URL of Redis or Valkey. Empty: an embedded Valkey."
    )
    redis_prefix: Annotated[str, Field(pattern=r"^[a-z0-9_.:-]{1,40}$")] = Field(
        "pajama", description="Prefix of every key in Redis, so that several Pajamas can share one."
    )

    model: str = Field(
        "slimpajama", description="The causal LM to answer with: `slimpajama`, a local path or a hub name."
    )
    trust_remote_code: bool = Field(False, description="Whether a model folder may bring Python code that is run.")
    device: str = Field("auto", description="`auto`, `cpu`, `cuda` or `cuda:N`.")
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = Field(
        "auto",
        description="Precision of the weights; `int8`, on a CPU that multiplies bfloat16: bfloat16 with large weights "
        "rounded to 8 bits, for one conversation alone about twice as fast.",
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        0, description="CPU threads of the model; 0: one a core that it may use."
    )
    engine: Literal["slots", "transformers"] = Field(
        "slots",
        description="What runs the model: `slots`, Pajama's own engine, or `transformers`, that library's own continuous "
        "batching.",
    )
    max_batch_size: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="Turns that one worker answers at once."
    )
    max_context_tokens: Annotated[int, Field(ge=0)] = Field(
        0, description="Prompt and answer together at most, in tokens; 0: what the model allows."
    )
    kv_memory_mib: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Memory for the keys and values of running and recent answers, in MiB; 0: a share of what is free.",
    )
    kv_reuse: Literal["off", "conversation", "workspace", "all"] = Field(
        "workspace",
        description="Whose keys and values a new answer may go on from: nobody's, its conversation's, its workspace's "
        "or everybody's. What is reused shows in the time to the first token.",
    )

    affinity_s: Annotated[Seconds, Field(ge=0, le=1)] = Field(
        0.05,
        description="How long a Turn is left to the worker that has its Conversation's keys and values, if that one is "
        "ready and free; 0: not at all.",
    )

    metrics_host: str = Field("127.0.0.1", description="Address that a worker's metrics are served on.")
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        0, description="Port of a worker's `/metrics`, for Prometheus; 0: none. Each worker of a machine needs its own."
    )

    openai_base_url: str = Field(
        "",
        description="OpenAI-compatible endpoint that answers in place of a model of the worker's own, such as "
        "`http://127.0.0.1:8000/v1`. Empty: `model` answers.",
    )
    openai_api_key: SecretStr = Field(SecretStr(""), description="The endpoint's key. Empty: none is sent.")
    openai_model: ModelName = Field(
        "", description="The model's name at the endpoint. Empty: the only one that it lists."
    )
    openai_workspace_models: ModelNames = Field(
        (),
        description="Names, between commas, of the endpoint's models that a workspace may choose with "
        "`/settings model`. Empty: none may.",
    )
    openai_silence_s: Annotated[Seconds, Field(gt=0)] = Field(
        60.0, description="How long the endpoint may say nothing before an answer is given up."
    )
    openai_retry_s: Annotated[Seconds, Field(ge=0)] = Field(
        30.0, description="How long an endpoint that is busy or away is asked again, as long as no word has come."
    )

    persona: Annotated[str, Field(max_length=4000)] = Field("", description="Who the assistant is, in its own words.")
    temperature: Annotated[float, Field(ge=0, le=5)] = Field(0.7, description="Sampling temperature; 0 is greedy.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(0.9, description="Nucleus of the sampled probability mass.")
    top_k: Annotated[int, Field(ge=0)] = Field(50, description="Most likely tokens that are sampled from; 0: all.")
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = Field(
        1.1, description="Above 1 makes repeats less likely."
    )
    max_new_tokens: Annotated[int, Field(ge=1)] = Field(256, description="Longest answer, in tokens.")

    faq_embedder: Annotated[str, Field(max_length=400)] = Field(
        "auto",
        description="What finds FAQ entries by meaning: `auto` (the packaged model where it is installed), `none` (by "
        "words alone), a local path or a hub name of a sentence-transformers model.",
    )
    faq_pgvector_from: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Phrasings from which on the vectors of a FAQ collection are left to pgvector, on a PostgreSQL that "
        "has it; 0: never.",
    )
    sample_faq: bool = Field(
        True, description="Whether `pajama up` brings in the sample FAQ about Pajama, unless it was ever there."
    )

    max_message_chars: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        16_000, description="Longest message that is taken from a person, in characters."
    )
    max_queued_turns: Annotated[int, Field(ge=1)] = Field(
        1000, description="Queued Turns before people are told `busy`."
    )
    max_queued_turns_per_person: Annotated[int, Field(ge=1)] = Field(
        20, description="Queued Turns of one person before they are told `busy`."
    )
    deadline_s: Annotated[Seconds, Field(gt=0)] = Field(120.0, description="Longest time that one answer may take.")
    lease_s: Annotated[Seconds, Field(ge=1)] = Field(
        15.0, description="A silent worker loses its Turns after this time."
    )
    heartbeat_s: Annotated[Seconds, Field(gt=0)] = Field(3.0, description="How often a worker renews its leases.")
    max_attempts: Annotated[int, Field(ge=1)] = Field(3, description="Tries before a Turn is given up with an apology.")
    drain_s: Annotated[Seconds, Field(ge=0)] = Field(
        5.0, description="Time for running answers when a worker is stopped."
    )
    reap_every_s: Annotated[Seconds, Field(gt=0)] = Field(2.0, description="How often lost Turns are looked for.")
    stream_ttl_s: Annotated[int, Field(ge=10)] = Field(3600, description="How long a reply stream stays in Redis.")

    retention_days: Annotated[int, Field(ge=0, le=36_500)] = Field(
        0, description="Days that words are kept, where a workspace says nothing else; 0: until someone asks."
    )

    handoff_timeout_h: Annotated[float, Field(ge=1, le=8760, allow_inf_nan=False)] = Field(
        72.0, description="Hours after which a hand-off ends in which neither staff nor the person do anything."
    )

    web_host: str = Field("127.0.0.1", description="Address that the web page listens on.")
    web_port: Annotated[int, Field(ge=0, le=65535)] = Field(8080, description="Port of the web page; 0: any free one.")
    web_secret: SecretStr = Field(
        SecretStr(""), description="Key that signs the session cookie. Empty: made once and kept in `data_dir`."
    )
    web_secure_cookie: bool = Field(False, description="Send the cookie over HTTPS only. Set it behind a TLS proxy.")
    operator_key: SecretStr = Field(
        SecretStr(""),
        description="Key with which operators sign in at `/operator`, 16 characters or more. Empty: made once and kept "
        "in `data_dir`; `pajama operator link` prints a link.",
    )
    open_browser: bool = Field(True, description="Whether `pajama up` opens the page where there is a screen.")

    discord_token: SecretStr = Field(
        SecretStr(""), description="The Discord bot's token, from Discord's developer page. Empty: Discord is off."
    )
    discord_message_content: bool = Field(
        True, description="Ask Discord for the Message Content intent. Without it, mentions, DMs and commands work."
    )
    discord_proxy: str = Field("", description="`http://` proxy between the Discord bot and Discord.")
    discord_api_base: str = Field("https://discord.com/api/v10", description="Where Discord's REST API is.")
    discord_gateway_url: str = Field("", description="Where Discord's gateway is. Empty: as Discord itself says.")

    slack_bot_token: SecretStr = Field(
        SecretStr(""), description="The Slack app's bot token (`xoxb-…`), for one workspace. Empty: Slack is off."
    )
    slack_app_token: SecretStr = Field(
        SecretStr(""), description="The Slack app's app-level token (`xapp-…`), for Socket Mode."
    )
    slack_signing_secret: SecretStr = Field(
        SecretStr(""), description="The Slack app's signing secret, for events that come by HTTP."
    )
    slack_mode: Literal["socket", "http"] = Field(
        "socket", description="How Slack's events come: over a connection of ours, or POSTed to a URL of ours."
    )
    slack_client_id: str = Field(
        "", description="The Slack app's client id, where several workspaces install it, instead of a bot token."
    )
    slack_client_secret: SecretStr = Field(SecretStr(""), description="The Slack app's client secret.")
    slack_public_url: str = Field(
        "", description="How people and Slack reach the address below from outside, as `https://pajama.example.com`."
    )
    slack_http_host: str = Field(
        "127.0.0.1", description="Address that Slack's events are POSTed to, and where the install page is."
    )
    slack_http_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        3000, description="Port that Slack's events are POSTed to, and of the install page; 0: any free one."
    )
    slack_api_base: str = Field("https://slack.com/api/", description="Where Slack's Web API is.")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="`auto`: console on a terminal, else JSON."
    )

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if url and not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("should start with sqlite:/// or postgresql+psycopg://")
        if url in ("sqlite:///", "sqlite:///:memory:"):
            raise ValueError("should name a file, as sqlite:///pajama.db does: every process has its own memory")
        return _with_a_port(url)

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, url: str) -> str:
        if url and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("should start with redis://, rediss:// or unix://")
        return _with_a_port(url)

    @field_validator("operator_key")
    @classmethod
    def _hard_to_guess(cls, key: SecretStr) -> SecretStr:
        if 0 < len(key.get_secret_value()) < MIN_OPERATOR_KEY_CHARS:
            raise ValueError(f"should have at least {MIN_OPERATOR_KEY_CHARS} characters, or be empty")
        return key

    @field_validator("discord_proxy", "discord_api_base", "slack_public_url")
    @classmethod
    def _web_address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("should start with http:// or https://")
        return _with_a_port(url).rstrip("/")

    @field_validator("openai_base_url")
    @classmethod
    def _endpoint_address(cls, url: str) -> str:
        if not url:
            return url
        if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
            raise ValueError("should start with http:// or https:// and name a host")
        if "@" in urlsplit(url).netloc:
            raise ValueError("should carry no password: PAJAMA_OPENAI_API_KEY is for the key")
        if urlsplit(url).query or urlsplit(url).fragment:
            raise ValueError("should end with the path, such as /v1")
        return _with_a_port(url).rstrip("/")

    @field_validator("openai_api_key")
    @classmethod
    def _header_value(cls, key: SecretStr) -> SecretStr:
        stripped = key.get_secret_value().strip()
        if not stripped.isascii() or not stripped.isprintable():
            raise ValueError("should be one line of ASCII")
        return SecretStr(stripped)

    @field_validator("slack_api_base")
    @classmethod
    def _folder_address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("should start with http:// or https://")
        return f"{_with_a_port(url).rstrip('/')}/"

    @field_validator("discord_gateway_url")
    @classmethod
    def _socket_address(cls, url: str) -> str:
        if url and not url.startswith(("ws://", "wss://")):
            raise ValueError("should start with ws:// or wss://")
        return _with_a_port(url)

    @field_validator("heartbeat_s")
    @classmethod
    def _beats_in_a_lease(cls, heartbeat_s: float, info: ValidationInfo) -> float:
        if heartbeat_s > info.data.get("lease_s", heartbeat_s * 2) / 2:
            raise ValueError("should be at most half of PAJAMA_LEASE_S, or a late beat loses a Turn")
        return heartbeat_s

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, `.env`, `pajama.toml`."""
        return init_settings, env_settings, dotenv_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def effective_database_url(self) -> str:
        """The database URL with the default filled in."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'pajama.db').resolve()}"

    @property
    def slack_by_oauth(self) -> bool:
        """Whether workspaces install the Slack app by OAuth, each with a token of its own."""
        return bool(self.slack_client_id)

    @property
    def slack_wanted(self) -> bool:
        """Whether anything is said of Slack, so that its bot is to run."""
        return self.slack_by_oauth or bool(self.slack_bot_token.get_secret_value())

    @property
    def sampling(self) -> SamplingParams:
        """The sampling parameters that a Turn gets where nothing else says so."""
        return SamplingParams(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            repetition_penalty=self.repetition_penalty,
            max_new_tokens=self.max_new_tokens,
        )


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process. Raises SettingsError naming each wrong variable and what would be right."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{TOML_FILE} is no valid TOML: {error}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{TOML_FILE} and .env should be UTF-8 text: {error}.") from error


def variable(name: str) -> str:
    """The environment variable of the setting `name`."""
    return PREFIX + name.upper()


def origins() -> dict[str, str]:
    """Where each setting's value comes from: `environment`, `.env`, `pajama.toml` or `default`."""
    sources = {
        "pajama.toml": TomlConfigSettingsSource(Settings),
        ".env": DotEnvSettingsSource(Settings),
        "environment": EnvSettingsSource(Settings),
    }
    found = dict.fromkeys(Settings.model_fields, "default")
    for origin, source in sources.items():
        found |= {name: origin for name in source() if name in found}
    return found


def unknown_variables() -> dict[str, str | None]:
    """`PAJAMA_…` variables, also of `.env`, that are no setting, each with the name that was probably meant."""
    known = [variable(name) for name in Settings.model_fields]
    return {
        name: next(iter(difflib.get_close_matches(name, known, n=1)), None)
        for name in sorted({*os.environ, *(name.upper() for name in DotEnvSettingsSource(Settings).env_vars)})
        if name.startswith(PREFIX) and not name.startswith(_OUTSIDE) and name not in known
    }


def _with_a_port(url: str) -> str:
    """`url`, if its port can be read; says nothing of what stands there, which may be part of a password."""
    try:
        urlsplit(url).port  # noqa: B018 - reading it checks it
    except ValueError as error:
        raise ValueError("should have a number for a port, and / : @ of a password as %2F %3A %40") from error
    return url


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else "settings"
        field = Settings.model_fields.get(name)
        secret = field is None or field.annotation is SecretStr or name.endswith("_url")  # URLs carry passwords
        got = "" if secret else f" (got {item['input']!r})"
        lines.append(f"{variable(name)}: {item['msg'].removeprefix('Value error, ')}{got}.")
    return "\n".join(lines)
