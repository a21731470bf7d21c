"""Writes the manifest that the installed dbt makes of this project: manifests/dbt-<version>.json.

Run it with the Python of an environment that has the wanted dbt. Macros and documentation are left out, for they are
most of the file and nothing to us.
"""

import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    with tempfile.TemporaryDirectory() as target:
        subprocess.run(
            [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "parse", "--quiet"],
            cwd=HERE,
            env={**os.environ, "DBT_TARGET_PATH": target, "DBT_LOG_PATH": target, "DBT_PROFILES_DIR": str(HERE)},
            check=True,
        )
        manifest = json.loads((Path(target) / "manifest.json").read_text(encoding="utf-8"))
    for part in ("macros", "docs"):
        manifest[part] = {}
    for key in ("user_id", "project_id", "env"):
        manifest["metadata"].pop(key, None)
    text = json.dumps(manifest, indent=1, sort_keys=True).replace(str(HERE), "annotated")
    path = HERE / "manifests" / f"dbt-{version('dbt-core')}.json"
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
