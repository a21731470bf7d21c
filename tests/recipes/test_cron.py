"""The script for cron, in an environment as poor as cron's."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness.warm import dbt_program
from recipe import ACCOUNTS, PASSWORD, RECIPES, VISITORS, Shop, blocks

ENVIRONMENT_OF_CRON = {"HOME": "/", "LOGNAME": "shop", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}


@pytest.fixture
def settings(shop: Shop, tmp_path: Path) -> Path:
    """The page's file of settings, for this machine."""
    (text,) = blocks("cron.md", "sh")
    (tmp_path / "bin").mkdir()
    dbt_program(tmp_path / "bin")
    programs = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}"
    text = text.replace("/srv/shop/.venv/bin", programs).replace("/srv/shop", str(shop.folder))
    for secret in (PASSWORD, shop.sandbox.integration_key):
        text = text.replace("'…'", f'"{secret}"', 1)
    path = shop.folder / "cron.env"
    path.write_text(text + "".join(f"{name}={value}\n" for name, value in shop.places.items()))
    return path


def start(settings: Path, **environment: str) -> subprocess.Popen[str]:
    command = ["/bin/sh", "-c", f"exec {RECIPES / 'cron.sh'} {settings}"]
    outputs = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd="/", env={**ENVIRONMENT_OF_CRON, **environment}, **outputs)


def end(run: subprocess.Popen[str]) -> tuple[int, str]:
    printed, _ = run.communicate()
    return run.returncode, printed


def test_one_run_at_a_time_and_only_what_went_wrong_is_mailed(shop, settings):
    with start(settings) as first:
        try:
            while not shop.database.exists():
                assert first.poll() is None
                time.sleep(0.05)
            first.send_signal(signal.SIGSTOP)
            assert end(start(settings)) == (1, "The run before this one is still under way; nothing was done.\n")
            first.send_signal(signal.SIGCONT)
            assert end(first) == (0, "")
        finally:
            first.kill()
    assert shop.plans == (VISITORS, ACCOUNTS)
    status, printed = end(start(settings, SHOP_IS_BROKEN="1"))
    assert (status, "no luck today" in printed) == (1, True)
