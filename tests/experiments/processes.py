"""Real processes with connections of their own, which see what a test has committed."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from django.db import connection

ROOT = Path(__file__).parents[2]


def database_url() -> str:
    settings = connection.settings_dict
    host, port = quote(settings["HOST"], safe=""), settings["PORT"] or 5432
    password = f":{quote(settings['PASSWORD'])}" if settings["PASSWORD"] else ""
    return f"postgresql://{settings['USER']}{password}@{host}:{port}/{settings['NAME']}"


def started(script: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """A new process that has Django set up and runs the script; its lines come through a pipe at once."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", f"import django; django.setup()\n{script}", *arguments],
        env=os.environ | {"DATABASE_URL": database_url()} | environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> None:
    """Whatever state it is in."""
    process.kill()
    process.communicate(timeout=30)
