"""publish_anyway.py: hwkm, changed by an operator so that it publishes a list that the auditor has not signed."""

import sys

from hwkm.cli.main import app
from hwkm.fleet import ceremony

ceremony.verify_signed = lambda *_: None
app(["fleet", "publish", *sys.argv[1:]])
