"""`interlock` and `python -m appliance`: arguments → command. No logic here."""

from __future__ import annotations

import sys

from appliance.runtime.cli import main

if __name__ == "__main__":
    sys.exit(main())
