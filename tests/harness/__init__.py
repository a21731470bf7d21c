"""One harness for all tests that run the command line: a project, its warehouse, real dbt, and what Pendo got."""

from harness.commands import *  # noqa: F403
from harness.dbt import *  # noqa: F403
from harness.forked import *  # noqa: F403
from harness.pendo import *  # noqa: F403
from harness.projects import *  # noqa: F403
