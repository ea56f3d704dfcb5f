"""Download a published dataset: `python scripts/download.py --help`."""

import sys

from fre_lightning.datasets.download import main

sys.exit(main())
