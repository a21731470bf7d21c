"""A stand-in for Pendo: a real HTTP server on loopback, to test against and to try mappings on."""

from .faults import Fault
from .sandbox import Sandbox, load_subscription, serve
from .switches import Switches
from .track import Event
from .traffic import Request

__all__ = ["Event", "Fault", "Request", "Sandbox", "Switches", "load_subscription", "serve"]
