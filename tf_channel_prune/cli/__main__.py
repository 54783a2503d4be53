"""`python -m tf_channel_prune.cli`."""

import sys

from tf_channel_prune.cli import main

sys.exit(main())
