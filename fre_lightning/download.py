"""`python -m fre_lightning.download`, or `fre-lightning-download`: get a published dataset."""

import sys

from fre_lightning.datasets.download import main

if __name__ == "__main__":
    sys.exit(main())
