"""What holds for every test of the suite."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says something about the machine only.
settings.register_profile("untimed", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# A shell starts what it runs in the background with Ctrl-C ignored, and the processes that tests start inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_published_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of events begin anew: no test depends on what those before it published in the same moment."""
    monkeypatch.setattr("polos.clock._last_sequence", 0)
