"""The Celery queue of wake-ups: each calls a worker to claim the next Turn in SQL.

A wake-up names no prompt: one inside a Redis message would be lost with it, and could not be cancelled, ordered or
forgotten. So a lost wake-up costs a moment (the reaper sends others) and a surplus one finds nothing to claim.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import structlog
from celery import Celery
from kombu import pools
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from core.redis import celery_prefix

ANSWER_TASK = "pajama.answer"
QUEUE = "turns"

log = structlog.get_logger(__name__)


def make_celery(redis_url: str, prefix: str, *, concurrency: int = 1) -> Celery:
    """A Celery application on `redis_url`, with the settings that held under faults (docs/decisions/0001)."""
    app = Celery("pajama", broker=broker_url(redis_url), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        worker_pool="threads",
        worker_concurrency=concurrency,
        task_acks_late=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        result_backend=None,
        task_publish_retry=False,
        task_serializer="json",
        accept_content=["json"],
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_timeout=2,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "global_keyprefix": celery_prefix(prefix),
            "visibility_timeout": 3600,
            "health_check_interval": 10,
            "socket_keepalive": True,
            "socket_connect_timeout": 2,
            # A Redis that hangs is as good as one that is gone; without a limit its sender would wait for ever.
            "socket_timeout": 5,
            # A wake-up that cannot be sent is given up at once; by default each would block its sender for 2 s.
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
        },
    )
    return app


def queue_key(prefix: str) -> str:
    """The Redis list of the wake-ups that wait."""
    return celery_prefix(prefix) + QUEUE


class WakeUps:
    """Sends wake-ups, best effort: what is not sent, the reaper makes up for."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        # One thread: publishing blocks, and several at once stall an event loop ten times as long.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wake-ups")

    def send(self, turn_id: int | None = None, passed_on: int = 0) -> bool:
        """Call a worker; `turn_id` is a hint only. False where Redis cannot be reached.

        `passed_on`: so many workers have left a Turn to another one at this wake-up.
        """
        args = (turn_id, passed_on) if passed_on else (turn_id,)
        try:
            self._app.send_task(ANSWER_TASK, args=args, retry=False, ignore_result=True)
        except (OperationalError, RedisError, OSError) as error:
            log.warning("A wake-up could not be sent.", action="wake_up_lost", turn_id=turn_id, reason=str(error))
            return False
        return True

    def send_soon(self, turn_id: int | None = None, passed_on: int = 0) -> None:
        """Call a worker from the sending thread, without waiting for it."""
        self._thread.submit(self.send, turn_id, passed_on)

    def close(self) -> None:
        """Send what is waiting, then close the connections."""
        self._thread.shutdown(wait=True)
        # `Celery.close` leaves them open in pools of the whole process, which are keyed by the broker's address.
        broker = self._app.connection_for_write()
        for group in (pools.producers, pools.connections):
            group[broker].force_close_all()
            del group[broker]
        self._app.close()


def broker_url(redis_url: str) -> str:
    """Kombu's spelling of a Redis URL: `unix:///path?db=N` is `redis+socket:///path?virtual_host=N` there.

    TLS certificates are verified, as the Redis client does; left to itself kombu would take any.
    """
    parts = urlsplit(redis_url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parts.query:
        return parts._replace(query="&".join(filter(None, (parts.query, "ssl_cert_reqs=required")))).geturl()
    if parts.scheme != "unix":
        return redis_url
    return f"redis+socket://{parts.path}?{parts.query.replace('db=', 'virtual_host=')}".rstrip("?")
