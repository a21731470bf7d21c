"""One harness for all tests that run the command line: a project, its warehouse, real dbt, and what Pendo got."""

from harness.commands import Ended, clean_environment, expect_in, run_cli
from harness.dbt import (
    SMALL_PROFILE,
    build_once,
    dbt_build,
    models_yaml,
    project_yaml,
    quick_dbt,
    run_dbt,
    without_dbt_or_pendo,
    write_files,
)
from harness.forked import REPOSITORY, Started, run_process, start
from harness.pendo import (
    add_fields,
    bodies,
    canonical,
    custom,
    environment_of,
    epoch_ms,
    held_fields,
    refuse,
    sent_events,
    sent_ids,
    writes,
)
from harness.projects import (
    CLICK_ROWS,
    CLICKS,
    COUNTS,
    PEOPLE,
    PEOPLE_ROWS,
    Project,
    SmallProject,
    check_document,
    enter,
    planned,
    select,
)
