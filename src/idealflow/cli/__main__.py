"""`python -m idealflow.cli` is the program too."""

import sys

from idealflow.cli.main import main

sys.exit(main())
