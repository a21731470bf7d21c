"""What every warehouse has to do for a sync. An engine's test file imports these tests, and brings an ``engine``."""

from contract.events import *  # noqa: F403
from contract.keys import *  # noqa: F403
from contract.ledger import *  # noqa: F403
from contract.locks import *  # noqa: F403
from contract.plans import *  # noqa: F403
from contract.runs import *  # noqa: F403
from contract.segments import *  # noqa: F403
from contract.values import *  # noqa: F403
