"""Make readable .json and .md files beside cached generations, once: ``decode-generations``.

See DECODE_GENERATIONS.md.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # PYTHONSAFEPATH leaves it out

from generation_sidecars import decode as main

if __name__ == "__main__":
    sys.exit(main())
