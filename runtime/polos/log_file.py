"""The log file of a client: what the package and its workflows log, with times."""

from __future__ import annotations

import logging
from pathlib import Path


def open_log_file(path: str | Path) -> logging.Handler:
    """Write the log of the package to a file, from the level INFO unless the application has set one."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("polos")
    logger.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    return handler


def close_log_file(handler: logging.Handler) -> None:
    logging.getLogger("polos").removeHandler(handler)
    handler.close()
