"""The server's own log: `logging` with the logger `cloud_server`, as JSON where asked for."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TextIO

log = logging.getLogger("cloud_server")

LINE_SECONDS = 10.0
"""Between two lines that tell of the same."""


def write_line(stream: TextIO, facts: Mapping[str, Any]) -> None:
    """One line of JSON, in one piece, so that threads do not write into each other's."""
    stream.write(json.dumps(facts) + "\n")
    stream.flush()


class Seldom:
    """Lines of which each kind is written once in `LINE_SECONDS`, with how many were not.

    Args:
        clock: seconds.
        event: what they tell of, in JSON.
        level: of `logging`.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        event: str = "refused",
        level: int = logging.WARNING,
    ) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._event, self._level = event, level
        self._until: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def say(
        self, reason: str, words: str, *, error: BaseException | None = None, **facts: Any
    ) -> None:
        """Write it, or count it.

        Args:
            reason: its kind, of which there are few.
            words, facts: for who reads, and for what reads JSON.
            error: whose traceback goes with it.
        """
        now = self._clock()
        with self._lock:
            if now < self._until.get(reason, now):
                self._left_out[reason] += 1
                return
            self._until[reason] = now + LINE_SECONDS
            left_out = self._left_out.pop(reason, 0)
        self._write(reason, words, left_out, facts, error)

    def close(self) -> None:
        """Say how many were left out since."""
        with self._lock:
            left, self._left_out = self._left_out, Counter()
        for reason, left_out in left.items():
            self._write(reason, f"{self._event} ({reason})", left_out, {})

    def _write(
        self,
        reason: str,
        words: str,
        left_out: int,
        facts: Mapping[str, Any],
        error: BaseException | None = None,
    ) -> None:
        more = f"; {left_out} more were left out" if left_out else ""
        told = {"event": self._event, "reason": reason, **facts, "left_out": left_out}
        log.log(self._level, "%s%s", words, more, exc_info=error, extra={"facts": told})


def tap_trouble(words: str) -> None:
    """What a tap reports: frames that are lost, an index that cannot be written."""
    log.warning("tap: %s", words, extra={"facts": {"event": "tap"}})


class JsonLines(logging.Formatter):
    """A record as one line of JSON: event, time (seconds since 1970), level, logger, message, the
    facts that came with it, and the traceback of an exception.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "event": "log",
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str)


def log_as_json(stream: TextIO) -> None:
    """From now on all that goes through `logging`, warnings and threads' last words are JSON."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(True)

    def died(
        kind: type[BaseException], error: BaseException | None, where: TracebackType | None
    ) -> None:
        if error is not None:
            log.critical("an exception that nobody caught", exc_info=(kind, error, where))

    def thread_died(args: threading.ExceptHookArgs) -> None:
        died(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook, threading.excepthook = died, thread_died
