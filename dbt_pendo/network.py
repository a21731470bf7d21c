"""What every HTTP client needs: faults in words, how long to wait, which certificates to trust."""

from __future__ import annotations

import math
import os
import time
from email.utils import parsedate_to_datetime

import requests


def certificates() -> str | bool:
    """Returns what requests is to check hosts against: the environment's bundle, else its own (True)."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


def describe_fault(error: requests.RequestException) -> str:
    """Says what went wrong below HTTP, without the URL and the pool internals requests puts into its text."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.InvalidURL):
        # Its text quotes a part of the URL, which may be a part of a proxy's password.
        return "the URL of the host, or of its proxy (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY), is malformed"
    reason: BaseException = error
    while (inner := reason.__cause__ or reason.__context__) is not None:
        reason = inner
    return f"{type(error).__name__} ({reason})" if str(reason) else type(error).__name__


def retry_after(header: str | None) -> float | None:
    """Returns the seconds of a Retry-After header, which holds a number or a date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), 300.0)
