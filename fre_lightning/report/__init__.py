"""`report.html`: one file that shows what runs found, opens offline and needs nothing else.

`python -m fre_lightning.report RUN_DIR...` makes it again from what the runs stored.
"""

from fre_lightning.report.page import write_report
from fre_lightning.results.stored_run import StoredRun, find_runs, read_run

__all__ = ["StoredRun", "find_runs", "read_run", "write_report"]
