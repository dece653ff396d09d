"""``python -m daemon`` is ``generation-sidecars``."""

import sys

from generation_sidecars import main

if __name__ == "__main__":
    sys.exit(main())
