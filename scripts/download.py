"""Download a published dataset: `python scripts/download.py --help`."""

import sys

from fre_lightning.download import main

sys.exit(main())
